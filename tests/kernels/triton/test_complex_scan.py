"""The Triton form of sums of complex modes: lengths, sizes, parts, strides, memory that nobody wrote."""

import pytest
import torch

pytest.importorskip("triton")

from kernels import complex_scan, complex_scan_step
from kernels.complex_scan import triton as form
from tests.kernels.test_operators import DEVICE, STRENGTHS, compare, draw

B = 2


@pytest.fixture(autouse=True)
def poisoned(monkeypatch):
    """Fresh memory holds NaN: whoever reads what nobody wrote shows it."""
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *shape, **options: empty(*shape, **options).fill_(float("nan")))
    monkeypatch.setattr(torch, "empty_like", lambda x, **options: torch.full_like(x, float("nan"), **options))
    monkeypatch.setattr(
        torch.Tensor, "new_empty", lambda x, *shape, **options: x.new_full(shape, float("nan"), **options)
    )


def draws(length, channels, modes, strength=0.3):
    return {
        "x": draw(B, length, channels), "write": draw(channels, modes),
        "log_decay": -strength * draw(channels, modes, seed=1).sigmoid(), "angle": 3 * draw(channels, modes, seed=2),
        "read": draw(channels, modes, 2), "state": draw(B, channels, modes, 2),
    }  # fmt: skip


def run(x):
    *tensors, state = x.values()
    return complex_scan(*tensors, initial_state=state)


@pytest.mark.parametrize("strength", STRENGTHS.values(), ids=STRENGTHS)
@pytest.mark.parametrize("length", [1, 2, 16, 33, 100])
def test_lengths_and_decays(length, strength, monkeypatch):
    # Gradients of parameters are sums over all tokens.
    compare(run, draws(length, 5, 3, strength), "triton", monkeypatch, tolerance=1e-4)


@pytest.mark.parametrize(("channels", "modes"), [(1, 1), (17, 1), (3, 16), (33, 16), (18, 20), (5, 64)])
def test_sizes(channels, modes, monkeypatch):
    compare(run, draws(37, channels, modes), "triton", monkeypatch, tolerance=1e-4)


@pytest.mark.parametrize("programs", [1, 3, 6])
def test_chunks_divided_among_programs(programs, monkeypatch):
    """The twelve chunks of both sequences, in parts of all, of four and of two."""
    monkeypatch.setattr(form, "PROGRAMS", programs)
    compare(run, draws(96, 5, 3), "triton", monkeypatch, tolerance=1e-4)


def test_without_a_state_and_with_one_output(monkeypatch):
    inputs = draws(40, 5, 3)
    del inputs["state"]
    for output in range(2):
        compare(lambda x, o=output: complex_scan(*x.values())[o : o + 1], inputs, "triton", monkeypatch, tolerance=1e-4)


def test_channels_that_are_not_neighbours(monkeypatch):
    inputs = {name: y.float().to(DEVICE) for name, y in draws(40, 5, 3).items()}
    monkeypatch.setenv("KERNELS_BACKEND", "reference")
    expected = run(inputs)
    monkeypatch.setenv("KERNELS_BACKEND", "triton")
    found = run(inputs | {"x": inputs["x"].mT.contiguous().mT})
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_bfloat16(monkeypatch):
    inputs = {name: y.float().to(DEVICE) for name, y in draws(40, 5, 3).items()}
    inputs["x"] = inputs["x"].bfloat16()
    monkeypatch.setenv("KERNELS_BACKEND", "reference")
    expected = run(inputs)
    monkeypatch.setenv("KERNELS_BACKEND", "triton")
    found = run(inputs)
    assert [y.dtype for y in found] == [torch.bfloat16, torch.float32]
    torch.testing.assert_close(found[0], expected[0], rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cut", [1, 15, 16, 17])
def test_in_parts_and_token_by_token(cut, monkeypatch):
    monkeypatch.setenv("KERNELS_BACKEND", "triton")
    x, *modes, state = (y.float().to(DEVICE) for y in draws(20, 5, 3).values())
    whole, last = complex_scan(x, *modes, initial_state=state)
    first, between = complex_scan(x[:, :cut], *modes, initial_state=state)
    second, end = complex_scan(x[:, cut:], *modes, initial_state=between)
    torch.testing.assert_close((torch.cat([first, second], 1), end), (whole, last), rtol=1e-4, atol=1e-4)
    for t in range(cut, 20):
        y, between = complex_scan_step(x[:, t], *modes, between)
        torch.testing.assert_close(y, whole[:, t], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(between, last, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("place", [1, 15, 16, 17])
def test_a_later_token_changes_nothing(place, monkeypatch):
    monkeypatch.setenv("KERNELS_BACKEND", "triton")
    x, *modes, _ = (y.float().to(DEVICE) for y in draws(40, 5, 3).values())
    changed = torch.cat([x[:, :place], x[:, place:].flip(1)], 1)
    found, expected = (complex_scan(each, *modes)[0][:, :place] for each in (changed, x))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
