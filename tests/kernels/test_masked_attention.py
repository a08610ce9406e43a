"""Attention under a mask against the naive sum, in float64."""

import pytest
import torch
from torch.testing import assert_close

from kernels import masked_attention, masked_attention_with_total, softmax_attention
from tests.kernels.test_operators import B, K, V, compare, draw

H = 4


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (1, 9), (13, 20), (7, 3)])
def test_values_and_gradients(queries, keys, groups, monkeypatch):
    seen = draw(B, H, queries, keys) > 0.5
    seen[0, 1, 0] = False  # sees nothing
    inputs = {"q": draw(B, queries, H, K), "k": draw(B, keys, groups, K), "v": draw(B, keys, groups, V)}
    compare(lambda x: masked_attention_with_total(x["q"], x["k"], x["v"], seen), inputs, "chunked", monkeypatch)
    o, total, most = masked_attention_with_total(*inputs.values(), seen)
    scores = torch.einsum("bthk,bshk->bhts", inputs["q"], inputs["k"].repeat_interleave(H // groups, 2)) / K**0.5
    sums = (scores.exp() * seen).sum(-1).transpose(1, 2)[..., None]
    assert_close((o, total * most.exp()), (masked_attention(*inputs.values(), seen), sums))


def test_gates_multiply_keys_and_values(monkeypatch):
    seen = draw(B, H, 7, 9) > -0.5
    inputs = {"q": draw(B, 7, H, K), "k": draw(B, 9, 2, K), "v": draw(B, 9, 2, V), "gates": draw(B, H, 7, 9, seed=3)}
    compare(
        lambda x: [masked_attention(x["q"], x["k"], x["v"], seen, gates=x["gates"])], inputs, "chunked", monkeypatch
    )  # fmt: skip


def test_under_a_causal_mask_it_is_softmax_attention():
    q, k, v = draw(B, 15, H, K), draw(B, 15, 2, K), draw(B, 15, 2, V)
    seen = torch.ones(15, 15, dtype=torch.bool).tril()
    assert_close(masked_attention(q, k, v, seen), softmax_attention(q, k, v)[0])


def test_a_query_that_sees_nothing_gets_zeros():
    q, k, v = (draw(B, 3, H, n).requires_grad_() for n in (K, K, V))
    o = masked_attention(q, k, v, torch.tensor([[False] * 3, [True] * 3, [False] * 3]))
    assert not o[:, 0].any() and o[:, 1].any() and not o[:, 2].any()
    o.sum().backward()
    assert q.grad.isfinite().all() and not q.grad[:, 0].any()
