"""Sums of complex modes against the recurrence in real arithmetic, and as a convolution."""

import pytest
import torch
from torch.testing import assert_close

from kernels import complex_scan, complex_scan_step
from tests.kernels.test_operators import LENGTHS, STRENGTHS, compare, draw

B, C, N = 2, 5, 3


def draws(length, strength=0.3):
    return {
        "x": draw(B, length, C), "write": draw(C, N), "log_decay": -strength * draw(C, N, seed=1).sigmoid(),
        "angle": 3 * draw(C, N, seed=2), "read": draw(C, N, 2),
    }  # fmt: skip


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("strength", STRENGTHS.values(), ids=STRENGTHS)
def test_values_and_gradients(strength, length, monkeypatch):
    inputs = {**draws(length, strength), "state": draw(B, C, N, 2)}

    def run(x):
        *tensors, state = x.values()
        return complex_scan(*tensors, initial_state=state)

    compare(run, inputs, "chunked", monkeypatch, tolerance=1e-4)  # gradients of parameters are sums over all tokens


def test_it_is_a_convolution():
    x, write, log_decay, angle, read = draws(50).values()
    rate, output = torch.complex(log_decay, angle), torch.view_as_complex(read)
    taps = torch.stack([(output * write * (rate * t).exp()).sum(-1).real for t in range(50)])  # [T, C]
    y = torch.stack([sum(taps[t - s] * x[:, s] for s in range(t + 1)) for t in range(50)], 1)
    assert_close(complex_scan(x, write, log_decay, angle, read)[0], y)


@pytest.mark.parametrize("cut", [1, 31, 32, 33])
def test_in_parts_and_token_by_token(cut):
    x, *modes = draws(40).values()
    whole, last = complex_scan(x, *modes)
    first, between = complex_scan(x[:, :cut], *modes)
    second, end = complex_scan(x[:, cut:], *modes, initial_state=between)
    assert_close((torch.cat([first, second], 1), end), (whole, last))
    for t in range(cut, 40):
        y, between = complex_scan_step(x[:, t], *modes, between)
        assert_close(y, whole[:, t])
    assert_close(between, last)


@pytest.mark.parametrize("place", [1, 31, 32, 33])
def test_a_later_token_changes_nothing(place):
    x, *modes = draws(40).values()
    changed = torch.cat([x[:, :place], x[:, place:].flip(1)], 1)
    found, expected = (complex_scan(each, *modes)[0][:, :place] for each in (changed, x))
    assert_close(found, expected, rtol=0, atol=1e-12)
