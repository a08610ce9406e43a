"""Attention without softmax against the naive sum over pairs of tokens, in float64."""

import pytest
import torch
from torch.testing import assert_close

from kernels import elementwise_attention, elementwise_attention_step
from tests.kernels.test_operators import B, K, V, compare, draw

KINDS = [("relu", False), ("softplus", False), ("sigmoid", True)]


@pytest.mark.parametrize("length", [1, 2, 33])
@pytest.mark.parametrize("window", [None, 1, 5, 1000])
@pytest.mark.parametrize("past", [0, 9])
@pytest.mark.parametrize(("activation", "decaying"), KINDS)
def test_values_and_gradients(activation, decaying, past, window, length, monkeypatch):
    inputs = {"q": draw(B, length, 4, K), "k": draw(B, length, 2, K, seed=1), "v": draw(B, length, 2, V)}
    if past:
        inputs |= {"keys": draw(B, past, 2, K), "values": draw(B, past, 2, V)}

    def function(x):
        cache = (x["keys"], x["values"]) if past else None
        o, state = elementwise_attention(
            x["q"], x["k"], x["v"], activation, decaying=decaying, window=window, initial_state=cache
        )
        return [o, *state]

    compare(function, inputs, "chunked", monkeypatch)


@pytest.mark.parametrize(("activation", "decaying"), KINDS)
def test_token_by_token(activation, decaying):
    q, k, v = draw(B, 20, 4, K), draw(B, 20, 2, K, seed=1), draw(B, 20, 2, V)
    options = {"decaying": decaying, "window": 6}
    whole, last = elementwise_attention(q, k, v, activation, **options)
    cache = k[:, :0], v[:, :0]
    for t in range(20):
        o, cache = elementwise_attention_step(q[:, t], k[:, t], v[:, t], activation, cache, **options)
        assert_close(o, whole[:, t])
    assert_close(cache, last)


def test_a_later_token_changes_nothing():
    inputs = draw(B, 20, 4, K), draw(B, 20, 2, K, seed=1), draw(B, 20, 2, V)
    changed = [torch.cat([x[:, :11], x[:, 11:].flip(1)], 1) for x in inputs]
    whole, other = (elementwise_attention(*x, "softplus")[0] for x in (inputs, changed))
    assert_close(other[:, :11], whole[:, :11], rtol=0, atol=1e-12)


def test_mistakes_are_named():
    q, k, v = draw(B, 5, 4, K), draw(B, 5, 2, K), draw(B, 5, 2, V)
    with pytest.raises(ValueError, match="activation is tanh: expected one of relu, softplus, sigmoid"):
        elementwise_attention(q, k, v, "tanh")
    with pytest.raises(ValueError, match="multiple of the 2 key-value heads"):
        elementwise_attention(q[:, :, :3], k, v, "relu")
