"""The Hyena operators: float64 sums over all earlier tokens, initial values, costs at the published sizes."""

import pytest
import torch
from torch.testing import assert_close

from search_space.parts.base import Dims
from search_space.parts.build import build_mixer
from search_space.parts.matrix_state import CHUNK
from tests.mixers.test_costs import cost
from tests.mixers.test_costs_hybrids import WIDTHS
from tests.mixers.test_definitions import CLOSE, D, T, build, convolved


def summed(filters, u):
    """sum_s h_s u_{t-s} for filters h [D, any number]."""
    taps = filters.shape[1]
    outputs = [sum(filters[:, s] * u[:, t - s] for s in range(min(t + 1, taps))) for t in range(T)]
    return torch.stack(outputs, 1)


def compare(mixer, x, filters, skip=0.0):
    x1, x2, v = convolved(mixer, x @ mixer.input.weight.T).chunk(3, -1)
    u = x2 * v
    y = x1 * (summed(filters, u) + skip * u)
    assert_close(mixer(x)[0], y @ mixer.output.weight.T + mixer.output.bias, **CLOSE)


def by_channel(taps):
    return taps[:, 0].repeat_interleave(D // taps.shape[0], 0)


@pytest.mark.parametrize("length", [2, 7, T + 3])
def test_se(length):
    mixer, x = build("hyena_se", {"length": length})
    compare(mixer, x, by_channel(mixer.taps))


@pytest.mark.parametrize("length", [5, 128])
def test_mr(length):
    mixer, x = build("hyena_mr", {"length": length})
    assert mixer.taps.shape == (2, 1, length)  # a filter for 16 channels
    rates = torch.tensor([1e-2, 1e2]).double()
    fading = torch.exp(-rates[:, None] * torch.arange(length) / (length - 1))
    compare(mixer, x, by_channel(mixer.taps * fading[:, None]), mixer.skip)


@pytest.mark.parametrize("block", [8, 512])
def test_li(block, monkeypatch):
    monkeypatch.setattr("search_space.mixers.hyena.BLOCK", block)
    mixer, x = build("hyena_li", {"key_size": 3})
    rate, residue = (y.reshape(D, 3, 1) for y in ((mixer.log_rate + mixer.log_step).exp(), mixer.residue))
    filters = (residue * torch.exp(-rate * torch.arange(T))).sum(1)
    compare(mixer, x, filters, mixer.skip)


def test_initial_values():
    dims = Dims(width=512, heads=2)
    se, mr, li = (build_mixer(name, dims) for name in ("hyena_se", "hyena_mr", "hyena_li"))
    assert 0.3 < se.taps.abs().max() <= 7**-0.5
    assert (mr.taps * 1e5 * 128**0.5).std().item() == pytest.approx(1, rel=0.05)
    assert mr.fading[0, -1] > 0.99 and mr.fading[-1, -1] < 1e-30 and (mr.fading[:, 0] == 1).all()
    rates = (li.log_rate + li.log_step).exp()
    assert 0.01 / torch.e <= rates.min() and rates.max() <= 0.1 / torch.e
    assert li.residue.std().item() == pytest.approx(0.1 / 4, rel=0.05)


def test_groups_where_sixteen_do_not_divide_the_width():
    assert build_mixer("hyena_se", Dims(width=24, heads=2)).groups == 2
    assert build_mixer("hyena_mr", Dims(width=17, heads=1)).groups == 17


@WIDTHS
def test_costs(d):
    se, mr, li = (cost(name, d) for name in ("hyena_se", "hyena_mr", "hyena_li"))
    frame = 4 * d**2 + 9 * d + d
    assert all(each.product_flops == 2 * 4 * d**2 for each in (se, mr, li))
    assert [each.parameters - frame for each in (se, mr, li)] == [7 * d // 16, 8 * d + d, 3 * 16 * d + d]
    assert [each.conv_elements for each in (se, mr, li)] == [6 * d + 6 * d, 6 * d + 127 * d, 6 * d]
    assert [each.state_elements for each in (se, mr, li)] == [0, 0, 16 * d]
    assert [each.decode_flops for each in (se, mr, li)] == [(14 + 2) * d, (256 + 4) * d, (64 + 4) * d]
    assert mr.prefill_flops == (2 * (128 + CHUNK - 1) + 4) * d
