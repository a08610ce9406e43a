"""Log-linear attention against merged states token by token, and against fla's masks, in float64."""

import pytest
import torch
from torch.nn.functional import normalize
from torch.testing import assert_close

from kernels import delta_rule, log_linear_attention, log_linear_attention_step
from tests.kernels.test_operators import STRENGTHS, B, H, K, V, compare, draw, log_decay
from tests.kernels.test_second_oracle import naive


def draws(length, levels=7, strength=0.3):
    return {
        "q": draw(B, length, H, K), "k": draw(B, length, H, K, seed=1), "v": draw(B, length, H, V),
        "log_decay": log_decay("scalar", strength, length), "weights": draw(B, length, H, levels, seed=5).abs(),
    }  # fmt: skip


@pytest.mark.parametrize("levels", [3, 7])
@pytest.mark.parametrize("position", [0, 1, 6, 8, 13])
@pytest.mark.parametrize("length", [1, 2, 9, 33])
def test_values_and_gradients(length, position, levels, monkeypatch):
    inputs = draws(length, levels)
    bits = torch.tensor([position >> p & 1 for p in range(position.bit_length())])[:, None, None, None]
    if position:
        inputs["state"] = draw(B, len(bits), H, K, V)

    def run(x):
        tensors = [x[name] for name in draws(1)]
        state = bits.to(x["state"]) * x["state"] if position else None  # where no bit is set, there is no bucket
        return log_linear_attention(*tensors, position, initial_state=state)

    compare(run, inputs, "chunked", monkeypatch)


def test_against_fla():
    q, k, v, decay, weights = draws(24).values()
    o = naive("log_linear_attn").naive_log_linear_attn(q, k, v, decay, weights, scale=1.0)
    o = o[0] if isinstance(o, tuple) else o
    assert_close(log_linear_attention(q, k, v, decay, weights, 0, scale=1.0)[0], o, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cut", [1, 7, 8, 9, 16, 17])
def test_in_parts_and_token_by_token(cut):
    inputs = list(draws(21).values())
    whole, last = log_linear_attention(*inputs, 0)
    first, between = log_linear_attention(*(x[:, :cut] for x in inputs), 0)
    second, end = log_linear_attention(*(x[:, cut:] for x in inputs), cut, initial_state=between)
    assert_close((torch.cat([first, second], 1), end), (whole, last))
    for t in range(cut, 21):
        o, between = log_linear_attention_step(*(x[:, t] for x in inputs), t, between)
        assert_close(o, whole[:, t])
    assert_close(between, last)


@pytest.mark.parametrize("place", [1, 4, 5, 8, 9, 16, 17])
def test_a_later_token_changes_nothing(place):
    inputs = list(draws(20).values())
    changed = [torch.cat([x[:, :place], x[:, place:].flip(1)], 1) for x in inputs]
    assert_close(
        log_linear_attention(*changed, 0)[0][:, :place], log_linear_attention(*inputs, 0)[0][:, :place],
        rtol=0, atol=1e-12,
    )  # fmt: skip


def erasing(length, strength=0.3):
    """Inputs of the delta rule."""
    inputs = draws(length, strength=strength)
    inputs["k"] = normalize(inputs["k"], dim=-1)
    return {**inputs, "beta": draw(B, length, H).sigmoid()}


@pytest.mark.parametrize("position", [0, 1, 6, 13])
@pytest.mark.parametrize("length", [1, 2, 9, 33])
@pytest.mark.parametrize("strength", STRENGTHS.values(), ids=STRENGTHS)
def test_values_and_gradients_of_the_delta_rule(strength, length, position, monkeypatch):
    inputs = erasing(length, strength)
    bits = torch.tensor([position >> p & 1 for p in range(position.bit_length())])[:, None, None, None]
    if position:
        inputs["state"] = draw(B, len(bits), H, K, V)

    def run(x):
        tensors = [x[name] for name in draws(1)]
        state = bits.to(x["state"]) * x["state"] if position else None
        return log_linear_attention(*tensors, position, beta=x["beta"], initial_state=state)

    compare(run, inputs, "chunked", monkeypatch)


def test_with_equal_weights_it_is_the_delta_rule():
    q, k, v, decay, weights, beta = erasing(29).values()
    o, states = log_linear_attention(q, k, v, decay, torch.ones_like(weights), 0, beta=beta)
    assert_close((o, states.sum(1)), delta_rule(q, k, v, beta, decay))


@pytest.mark.parametrize("cut", [1, 7, 8, 9, 16, 17])
def test_the_delta_rule_in_parts_and_token_by_token(cut):
    *inputs, beta = erasing(21).values()
    whole, last = log_linear_attention(*inputs, 0, beta=beta)
    _, between = log_linear_attention(*(x[:, :cut] for x in inputs), 0, beta=beta[:, :cut])
    second, end = log_linear_attention(*(x[:, cut:] for x in inputs), cut, beta=beta[:, cut:], initial_state=between)
    assert_close((second, end), (whole[:, cut:], last))
    for t in range(cut, 21):
        o, between = log_linear_attention_step(*(x[:, t] for x in inputs), t, between, beta=beta[:, t])
        assert_close(o, whole[:, t])
    assert_close(between, last)
