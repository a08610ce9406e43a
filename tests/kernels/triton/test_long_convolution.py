"""The Triton form of the long convolution: groups, widths, short sequences, strides, memory that nobody wrote."""

import pytest
import torch

pytest.importorskip("triton")

from kernels import long_convolution, long_convolution_step
from kernels.long_convolution import reference
from kernels.long_convolution import triton as form
from tests.kernels.test_operators import DEVICE, draw

B = 2


@pytest.fixture(autouse=True)
def poisoned(monkeypatch):
    """Fresh memory holds NaN: whoever reads what nobody wrote shows it."""
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *shape, **options: empty(*shape, **options).fill_(float("nan")))


def inside(x):
    """The same values as a slice of a larger buffer of NaN."""
    buffer = torch.full([*x.shape[:-1], x.shape[-1] + 7], float("nan"), device=DEVICE)
    buffer[..., 3 : 3 + x.shape[-1]] = x
    return buffer[..., 3 : 3 + x.shape[-1]].detach().requires_grad_()


def exact_form(x, filters, past):
    before = x.new_zeros(x.shape[0], filters.shape[1] - 1, x.shape[2]) if past is None else past
    y = reference.long_convolution(x, filters, before)
    return y, torch.cat([before, x], 1)[:, x.shape[1] :]


def outcome(function, inputs):
    """Outputs, and the gradients of their weighted sum."""
    outputs = function(*inputs)
    loss = sum((o * draw(*o.shape, seed=3).to(o)).sum() for o in outputs)
    return [*outputs, *torch.autograd.grad(loss, [x for x in inputs if x is not None])]


def check(length, channels, groups, width, *, batch=B, past=True):
    values = [draw(batch, length, channels), draw(groups, width)]
    values += [draw(batch, width - 1, channels)] if past else []
    padding = [] if past else [None]
    exact = outcome(exact_form, [x.clone().requires_grad_() for x in values] + padding)
    found = outcome(form.long_convolution, [inside(x) for x in values] + padding)
    for a, b in zip(found, exact, strict=True):
        assert a.shape == b.shape
        error = (a.cpu().double() - b).square().mean().sqrt()
        assert error <= 2e-5 * b.square().mean().sqrt() + 1e-5


@pytest.mark.parametrize("past", [False, True], ids=["start", "past"])
@pytest.mark.parametrize("width", [2, 7, 65, 128, 130])
@pytest.mark.parametrize("length", [1, 5, 64, 65, 150])
def test_lengths_and_widths(length, width, past):
    check(length, 6, 3, width, past=past)


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (5, 5), (5, 1), (48, 3), (51, 3), (64, 1), (34, 2)])
@pytest.mark.parametrize("batch", [1, 5])
def test_groups(batch, channels, groups):
    check(70, channels, groups, 33, batch=batch)


def test_a_filter_of_256_taps():
    check(300, 16, 1, 256)


def test_tokens_divided_among_programs(monkeypatch):
    """Nine steps of each distance in parts of four, the last of which is short."""
    monkeypatch.setattr(form, "PROGRAMS", 6)
    monkeypatch.setattr(form, "WIDEST", 16)
    check(150, 20, 1, 20)
    monkeypatch.setattr(form, "PROGRAMS", 1)
    check(150, 20, 1, 20)


def test_channels_that_are_not_neighbours():
    x, filters = draw(6, 70, B), draw(3, 20)
    exact = exact_form(x.transpose(0, 2), filters, None)
    found = form.long_convolution(x.float().to(DEVICE).transpose(0, 2), filters.float().to(DEVICE), None)
    for a, b in zip(found, exact, strict=True):
        torch.testing.assert_close(a.cpu().double(), b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("place", [1, 63, 64, 65])
def test_a_later_token_changes_nothing(place):
    x, filters = (y.float().to(DEVICE) for y in (draw(B, 150, 6), draw(3, 128)))
    changed = torch.cat([x[:, :place], x[:, place:].flip(1)], 1)
    found, expected = (form.long_convolution(each, filters, None)[0][:, :place] for each in (changed, x))
    assert torch.equal(found, expected)


def test_in_parts_and_token_by_token(monkeypatch):
    monkeypatch.setenv("KERNELS_BACKEND", "triton")
    x, filters, past = (y.float().to(DEVICE) for y in (draw(B, 30, 6), draw(2, 9), draw(B, 8, 6)))
    whole, last = long_convolution(x, filters, initial_state=past)
    first, between = long_convolution(x[:, :25], filters, initial_state=past)
    second, end = long_convolution(x[:, 25:], filters, initial_state=between)
    torch.testing.assert_close((torch.cat([first, second], 1), end), (whole, last), rtol=1e-4, atol=1e-4)
    for token, expected in zip(x.unbind(1), whole.unbind(1), strict=True):
        y, past = long_convolution_step(token, filters, past)
        torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(past, last)


def test_gradients_that_nobody_wants_are_not_made():
    values = [inside(x).detach() for x in (draw(B, 9, 6), draw(3, 4), draw(B, 3, 6))]
    exact = outcome(exact_form, [x.double().cpu().requires_grad_() for x in values])[2:]
    for leaf, expected in zip(values, exact, strict=True):
        y, last = form.long_convolution(*(x.requires_grad_(x is leaf) for x in values))
        weighted = sum((o * draw(*o.shape, seed=3).to(o)).sum() for o in (y, last))
        (gradient,) = torch.autograd.grad(weighted, [leaf])
        torch.testing.assert_close(gradient.cpu().double(), expected, rtol=1e-4, atol=1e-4)


def test_sums_along_antidiagonals():
    x = draw(2, 3, 5)
    sums = form.antidiagonals(x)
    expected = torch.stack([sum(x[:, i, k - i] for i in range(3) if 0 <= k - i < 5) for k in range(7)], 1)
    torch.testing.assert_close(sums, expected)
