"""The long convolution against the naive sum and against torch's conv1d, in float64."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from kernels import long_convolution, long_convolution_step
from kernels.long_convolution.chunked import BLOCK
from tests.kernels.test_operators import compare, draw

B, C = 2, 6


@pytest.mark.parametrize("groups", [1, 3, 6])
@pytest.mark.parametrize("width", [2, 7, 128])
@pytest.mark.parametrize("length", [1, 2, BLOCK, BLOCK + 1, 150])
def test_values_and_gradients(length, width, groups, monkeypatch):
    inputs = {"x": draw(B, length, C), "h": draw(groups, width), "past": draw(B, width - 1, C)}
    compare(lambda x: long_convolution(x["x"], x["h"], initial_state=x["past"]), inputs, "chunked", monkeypatch)


@pytest.mark.parametrize("width", [7, 128])
@pytest.mark.parametrize("backend", ["reference", "chunked"])
def test_is_a_convolution(backend, width, monkeypatch):
    monkeypatch.setenv("KERNELS_BACKEND", backend)
    x, h = draw(B, 150, C), draw(3, width)
    weight = h.flip(1).repeat_interleave(2, 0)[:, None]
    expected = F.conv1d(F.pad(x.mT, (width - 1, 0)), weight, groups=C).mT
    assert_close(long_convolution(x, h)[0], expected)


@pytest.mark.parametrize("place", [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 1])
def test_a_later_token_changes_nothing(place):
    x, h = draw(B, 150, C), draw(3, 128)
    changed = torch.cat([x[:, :place], draw(B, 150 - place, C, seed=1)], 1)
    y, other = long_convolution(x, h)[0], long_convolution(changed, h)[0]
    assert torch.equal(y[:, :place], other[:, :place])
    assert not torch.isclose(y[:, place], other[:, place]).any()


def test_in_parts_and_token_by_token():
    x, h, past = draw(B, 80, C), draw(2, 9), draw(B, 8, C)
    whole, last = long_convolution(x, h, initial_state=past)
    first, between = long_convolution(x[:, :70], h, initial_state=past)
    second, end = long_convolution(x[:, 70:], h, initial_state=between)
    assert_close((torch.cat([first, second], 1), end), (whole, last))
    for token, expected in zip(x.unbind(1), whole.unbind(1), strict=True):
        y, past = long_convolution_step(token, h, past)
        assert_close(y, expected)
    assert_close(past, last)


def test_filters_that_fit_no_groups():
    with pytest.raises(ValueError, match="divisor of the 6 channels"):
        long_convolution(draw(B, 3, C), draw(4, 2))
    with pytest.raises(ValueError, match="initial_state has shape"):
        long_convolution(draw(B, 3, C), draw(3, 4), initial_state=draw(B, 4, C))
