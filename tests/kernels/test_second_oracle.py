"""The operators against the naive functions of flash-linear-attention, which we did not write."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch.nn.functional import logsigmoid, normalize

from kernels import delta_rule, gated_scan, linear_attention

B, T, H, K, V = 2, 37, 2, 6, 4


def naive(operator: str):
    """The module fla/ops/<operator>/naive.py, loaded by its path: the package itself needs a GPU's libraries."""
    package = importlib.util.find_spec("fla")
    if package is None or not package.submodule_search_locations:
        pytest.skip("fla-core is not installed (pip install -e '.[test]')")
    path = Path(next(iter(package.submodule_search_locations))) / "ops" / operator / "naive.py"
    spec = importlib.util.spec_from_file_location(f"naive_{operator}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def inputs():
    q, k, v = torch.randn(B, T, H, K), normalize(torch.randn(B, T, H, K), dim=-1), torch.randn(B, T, H, V)
    return q, k, v, torch.rand(B, T, H)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_vector_decay(inputs):
    q, k, v, _ = inputs
    decay = logsigmoid(torch.randn(B, T, H, K))
    o, state = naive("gla").naive_recurrent_gla(q=q, k=k, v=v, gk=decay, output_final_state=True)
    found = linear_attention(q, k, v, decay)
    close(found[0], o)
    close(found[1], state)


def test_scalar_decay(inputs):
    q, k, v, _ = inputs
    decay = logsigmoid(torch.randn(B, T, H))
    o, state = naive("simple_gla").naive_recurrent_simple_gla(q=q, k=k, v=v, g=decay, output_final_state=True)
    found = linear_attention(q, k, v, decay)
    close(found[0], o)
    close(found[1], state)


def test_gated_delta_rule(inputs):
    q, k, v, beta = inputs
    decay = logsigmoid(torch.randn(B, T, H))
    o, state = naive("gated_delta_rule").naive_recurrent_gated_delta_rule(
        q=q, k=k, v=v, beta=beta, g=decay, output_final_state=True
    )
    found = delta_rule(q, k, v, beta, decay)
    close(found[0], o)
    close(found[1], state)


def test_delta_rule_with_vector_decay(inputs):
    q, k, v, beta = inputs
    decay = 4 * logsigmoid(torch.randn(B, T, H, K))
    o, state = naive("kda").naive_recurrent_kda(q=q, k=k, v=v, g=decay, beta=beta, output_final_state=True)
    found = delta_rule(q, k, v, beta, decay)
    close(found[0], o)
    close(found[1], state)


def test_delta_rule(inputs):
    q, k, v, beta = inputs
    head_first = [x.transpose(1, 2) for x in (q, k, v, beta)]
    o = naive("delta_rule").delta_rule_recurrence(*head_first)
    o = o[0] if isinstance(o, tuple) else o
    close(delta_rule(q, k, v, beta)[0], o.transpose(1, 2))


def test_scan():
    x, decay = torch.randn(B, T, 5), logsigmoid(torch.randn(B, T, 5))
    o, state = naive("hgrn").naive_recurrent_hgrn(x=x, g=decay, output_final_state=True)
    found = gated_scan(x, decay)
    close(found[0], o)
    close(found[1], state)
