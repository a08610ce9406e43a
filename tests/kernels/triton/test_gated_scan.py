"""The Triton form of the gated recurrence: segments, strides, memory that nobody wrote, missing gradients."""

import pytest
import torch

pytest.importorskip("triton")

from kernels.gated_scan import reference
from kernels.gated_scan import triton as kernels

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
B = 2


@pytest.fixture(autouse=True)
def poisoned(monkeypatch):
    """Fresh memory holds NaN: whoever reads what nobody wrote shows it."""
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *shape, **options: empty(*shape, **options).fill_(float("nan")))
    monkeypatch.setattr(
        torch.Tensor, "new_empty", lambda x, *shape, **options: x.new_full(shape, float("nan"), **options)
    )


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=torch.float64)


def inside(x):
    """The same values as a slice of a larger buffer of NaN."""
    buffer = torch.full([*x.shape[:-1], x.shape[-1] + 7], float("nan"), device=DEVICE)
    buffer[..., 3 : 3 + x.shape[-1]] = x
    return buffer[..., 3 : 3 + x.shape[-1]].detach().requires_grad_()


def close(found, exact):
    error = (found.cpu().double() - exact).square().mean().sqrt()
    assert error <= 2e-5 * exact.square().mean().sqrt() + 1e-5


def outcome(function, inputs, weights):
    """Outputs, and the gradients of their weighted sum (an output without a weight takes no part)."""
    outputs = function(*inputs)
    loss = sum((o * w.to(o)).sum() for o, w in zip(outputs, weights, strict=True) if w is not None)
    return [*outputs, *torch.autograd.grad(loss, [x for x in inputs if x is not None])]


def exact_form(x, log_decay, state):
    h = reference.gated_scan(x, log_decay, x.new_zeros(x.shape[0], x.shape[2]) if state is None else state)
    return h, h[:, -1]


def check(length, size, strength, *, state=True, weights=(True, True)):
    values = [draw(B, length, size), -strength * draw(B, length, size, seed=1).sigmoid()]
    values += [draw(B, size, seed=2)] if state else []
    weight = [draw(B, length, size, seed=3) if weights[0] else None, draw(B, size, seed=4) if weights[1] else None]
    padding = [] if state else [None]
    exact = outcome(exact_form, [x.clone().requires_grad_() for x in values] + padding, weight)
    found = outcome(kernels.gated_scan, [inside(x) for x in values] + padding, weight)
    assert found[1].dtype == torch.float32
    for a, b in zip(found, exact, strict=True):
        close(a, b)


@pytest.mark.parametrize("strength", [0.0, 0.1, 200.0])
@pytest.mark.parametrize(("length", "size"), [(1, 1), (31, 3), (65, 5), (64, 17)])
def test_values_and_gradients(length, size, strength):
    check(length, size, strength)


def test_no_initial_state():
    check(37, 5, 0.3, state=False)


@pytest.mark.parametrize("weights", [(True, False), (False, True)], ids=["no state", "state alone"])
@pytest.mark.parametrize("segmented", [False, True])
def test_an_output_that_nobody_uses(weights, segmented, monkeypatch):
    if segmented:
        monkeypatch.setattr(kernels, "SHORTEST", 64)
    check(130, 3, 0.1, weights=weights)


@pytest.mark.parametrize("strength", [0.0, 0.02, 200.0])
@pytest.mark.parametrize(("length", "segments"), [(128, 2), (129, 2), (192, 3)])
def test_segments(length, segments, strength, monkeypatch):
    monkeypatch.setattr(kernels, "SHORTEST", 64)
    assert kernels._plan(B, length, 3)[1] == segments
    check(length, 3, strength)


def test_few_sequences_are_split_and_many_are_not():
    assert kernels._plan(16, 2048, 2048)[:2] == (64, 1)
    assert kernels._plan(4, 8192, 2048)[:2] == (32, 1)
    assert kernels._plan(1, 8192, 2048) == (32, 5, 1664)
    assert kernels._plan(1, 100, 2048)[1] == 1
    assert kernels._plan(1, 1 << 20, 16)[1] <= 2 * kernels.WANTED


def test_steps_and_strides():
    x, decay, state = draw(3, 33), -draw(3, 33).sigmoid(), draw(3, 33)
    exact = exact_form(x[:, None], decay[:, None], state)
    with torch.no_grad():
        h, new = kernels.gated_scan_step(inside(x), inside(decay), state.float().to(DEVICE))
    close(h, exact[0][:, 0])
    close(new, exact[1])
    leaves = [v.float().to(DEVICE).requires_grad_() for v in (x, decay, state)]
    sum(o.sum() for o in kernels.gated_scan_step(*leaves)).backward()
    close(leaves[2].grad, 2 * decay.exp())


def test_columns_that_are_not_neighbours():
    x, decay = draw(5, 20, B), -draw(5, 20, B).sigmoid()
    exact = exact_form(x.transpose(0, 2), decay.transpose(0, 2), None)
    found = kernels.gated_scan(x.float().to(DEVICE).transpose(0, 2), decay.float().to(DEVICE).transpose(0, 2), None)
    for a, b in zip(found, exact, strict=True):
        close(a, b)


def test_gradients_that_nobody_wants_are_not_made():
    x, decay, state = inside(draw(B, 9, 3)), inside(-draw(B, 9, 3).sigmoid()), inside(draw(B, 3))
    for leaf in (x, decay, state):
        leaf.requires_grad_(False)
    for leaf in (x, decay, state):
        leaf.requires_grad_()
        (gradient,) = torch.autograd.grad(kernels.gated_scan(x, decay, state)[0].sum(), [leaf])
        assert gradient.isfinite().all()
        leaf.requires_grad_(False)
