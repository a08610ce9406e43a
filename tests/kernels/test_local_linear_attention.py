"""Local linear attention against normal equations in float64, and its two limits."""

import pytest
import torch
from torch.testing import assert_close

from kernels import local_linear_attention, softmax_attention
from tests.kernels.test_operators import B, K, V, compare, draw

H, STEPS = 4, 2 * K


def draws(queries, keys, groups=H):
    return {
        "q": draw(B, queries, H, K), "k": draw(B, keys, groups, K, seed=1), "v": draw(B, keys, groups, V),
        "ridge": 0.3 + draw(B, H).abs(),
    }  # fmt: skip


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (1, 9), (13, 20), (33, 33)])
def test_values_and_gradients(queries, keys, groups, monkeypatch):
    inputs = draws(queries, keys, groups)
    compare(lambda x: [local_linear_attention(*x.values(), STEPS)], inputs, "chunked", monkeypatch)


def test_without_slopes_it_is_softmax_attention():
    q, k, v, ridge = draws(15, 15).values()
    assert_close(local_linear_attention(q, k, v, 1e12 * ridge, STEPS), softmax_attention(q, k, v)[0])


def test_values_that_are_linear_in_keys_are_found_exactly():
    q, k, _, ridge = draws(40, 40).values()
    matrix, offset = draw(H, K, V), draw(H, V)
    v = torch.einsum("bthk,hkv->bthv", k, matrix) + offset
    o = local_linear_attention(q, k, v, 1e-6 * ridge, STEPS)
    expected = torch.einsum("bthk,hkv->bthv", q, matrix) + offset
    assert_close(o[:, 20:], expected[:, 20:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("place", [1, 7, 19])
def test_a_later_token_changes_nothing(place):
    *inputs, ridge = draws(20, 20).values()
    changed = [torch.cat([x[:, :place], x[:, place:].flip(1)], 1) for x in inputs]
    found, expected = (local_linear_attention(*x, ridge, STEPS)[:, :place] for x in (changed, inputs))
    assert_close(found, expected, rtol=0, atol=1e-12)
