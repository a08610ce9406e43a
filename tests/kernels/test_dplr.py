"""The DPLR recurrence against the naive one in float64, against fla's, and as the delta rule."""

import pytest
import torch
from torch.nn.functional import logsigmoid, normalize
from torch.testing import assert_close

from kernels import delta_rule, dplr, dplr_step
from kernels.dplr.chunked import CHUNK
from tests.kernels.test_operators import LENGTHS, STRENGTHS, B, H, K, V, compare, draw, log_decay
from tests.kernels.test_second_oracle import naive


def draws(length, strength=0.3):
    """Removal keys of RWKV-7: unit length, and a share of it in [0, 1] for each element."""
    key = normalize(draw(B, length, H, K, seed=2), dim=-1)
    return {
        "q": draw(B, length, H, K), "k": draw(B, length, H, K, seed=1), "v": draw(B, length, H, V),
        "read": -key, "write": key * draw(B, length, H, K, seed=4).sigmoid(),
        "log_decay": log_decay("vector", strength, length),
    }  # fmt: skip


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("strength", [*STRENGTHS.values(), 1000.0], ids=[*STRENGTHS, "nothing-left"])
def test_values_and_gradients(strength, length, monkeypatch):
    inputs = {**draws(length, strength), "state": draw(B, H, K, V)}

    def run(x):
        return dplr(*(x[name] for name in inputs if name != "state"), initial_state=x["state"])

    compare(run, inputs, "chunked", monkeypatch)


def test_the_delta_rule_is_a_case_of_it():
    k, beta = normalize(draw(B, 33, H, K, seed=2), dim=-1), draw(B, 33, H).sigmoid()
    q, v, decay, state = draw(B, 33, H, K), draw(B, 33, H, V), log_decay("vector", 0.3, 33), draw(B, H, K, V)
    strength = beta[..., None]
    found = dplr(q, k, strength * v, -strength * decay.exp() * k, k, decay, initial_state=state)
    assert_close(found, delta_rule(q, k, v, beta, decay, initial_state=state))


def test_against_fla():
    torch.manual_seed(0)
    shape = 2, 37, 2, 6
    q, k, v, key = (
        torch.randn(shape),
        torch.randn(shape),
        torch.randn(2, 37, 2, 4),
        normalize(torch.randn(shape), dim=-1),
    )
    share, decay = torch.rand(shape), logsigmoid(torch.randn(shape))
    inputs = q, k, v, -key, key * share, decay
    module = naive("generalized_delta_rule/dplr")
    o, state = module.dplr_recurrence(*(x.transpose(1, 2) for x in inputs))
    assert_close(dplr(*inputs), (o.transpose(1, 2), state), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("place", [1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1])
def test_a_later_token_changes_nothing(place):
    inputs = list(draws(40).values())
    changed = [torch.cat([x[:, :place], x[:, place:].flip(1)], 1) for x in inputs]
    assert_close(dplr(*changed)[0][:, :place], dplr(*inputs)[0][:, :place], rtol=0, atol=1e-12)


def test_in_parts_and_token_by_token():
    inputs, state = list(draws(40).values()), draw(B, H, K, V)
    whole, last = dplr(*inputs, initial_state=state)
    first, between = dplr(*(x[:, :19] for x in inputs), initial_state=state)
    second, end = dplr(*(x[:, 19:] for x in inputs), initial_state=between)
    assert_close((torch.cat([first, second], 1), end), (whole, last))
    for t in range(40):
        o, state = dplr_step(*(x[:, t] for x in inputs), state)
        assert_close(o, whole[:, t])
    assert_close(state, last)


def test_wrong_shapes_are_named():
    inputs = draws(5)
    with pytest.raises(ValueError, match="write has shape"):
        dplr(*{**inputs, "write": inputs["v"]}.values())
