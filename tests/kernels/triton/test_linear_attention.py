"""The Triton form of linear attention: sizes, segments, layouts, poisoned memory, single steps."""

import pytest
import torch

pytest.importorskip("triton")

from kernels.linear_attention import IMPLEMENTATIONS, STEPS
from kernels.linear_attention import triton as form
from tests.kernels.test_operators import DEVICE, draw

KINDS = {"none": (), "scalar": ("B", "T", "H"), "vector": ("B", "T", "H", "K")}


def inputs(kind, length, keys, values, strength=0.3, batch=1, heads=2, state=True):
    sizes = {"B": batch, "T": length, "H": heads, "K": keys}
    shape = [sizes[name] for name in KINDS[kind]]
    return [
        draw(batch, length, heads, keys),
        draw(batch, length, heads, keys, seed=1),
        draw(batch, length, heads, values, seed=2),
        -strength * draw(*shape, seed=7).sigmoid() if shape else None,
        draw(batch, heads, keys, values, seed=4) if state else None,
    ]


def gradients(form, tensors, weights, dtype, device):
    leaves = [None if x is None else x.to(device, dtype).requires_grad_() for x in tensors]
    outputs = form(*leaves, 0.7)
    loss = sum((o * w.to(o)).sum() for o, w in zip(outputs, weights, strict=True) if w is not None)
    wanted = [x for x in leaves if x is not None]
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    return [*outputs, *(torch.zeros_like(x) if g is None else g for g, x in zip(found, wanted, strict=True))]


def agree(tensors, given=(True, True), tolerance=1e-5):
    outputs = IMPLEMENTATIONS["reference"](*tensors, 0.7)
    weights = [draw(*o.shape, seed=9) if wanted else None for o, wanted in zip(outputs, given, strict=True)]
    expected = gradients(IMPLEMENTATIONS["reference"], tensors, weights, torch.float64, "cpu")
    found = gradients(IMPLEMENTATIONS["triton"], tensors, weights, torch.float32, DEVICE)
    for a, b in zip(found, expected, strict=True):
        assert (a.cpu() - b).square().mean().sqrt() <= 2e-5 * b.square().mean().sqrt() + tolerance


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keys, values, length", [(16, 16, 65), (1, 3, 5), (64, 128, 70), (48, 20, 64), (256, 64, 9)])
def test_sizes(kind, keys, values, length):
    agree(inputs(kind, length, keys, values))


@pytest.mark.parametrize("kind", KINDS)
def test_segments(kind):
    assert form.PROGRAMS >= 3
    agree(inputs(kind, 2 * form.ANCHOR.value + 5, 16, 16, heads=1), tolerance=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", [(True, False), (False, True)], ids=["o", "state"])
def test_a_gradient_of_one_output(kind, given):
    agree(inputs(kind, 70, 16, 16, state=False), given)


@pytest.mark.parametrize("kind", ["scalar", "vector"])
def test_decay_that_forgets_everything(kind):
    agree(inputs(kind, 70, 16, 16, strength=400.0), tolerance=1e-4)


@pytest.mark.parametrize("kind", ["scalar", "vector"])
def test_decay_that_is_strong_now_and_then(kind):
    tensors = inputs(kind, 80, 16, 16)
    tensors[3] = tensors[3] * torch.where(torch.arange(80) % 7 == 3, 100.0, 1.0).view(
        1, 80, *([1] * (tensors[3].dim() - 2))
    )
    agree(tensors, tolerance=3e-5)


def poisoned(x):
    """x as a slice of memory that is NaN everywhere else."""
    around = x.new_full([size + 2 for size in x.shape[:-1]] + [x.shape[-1] + 8], float("nan"))
    inner = around[(*(slice(1, -1) for _ in x.shape[:-1]), slice(4, -4))]
    return inner.copy_(x)


@pytest.mark.parametrize("kind", KINDS)
def test_slices_of_poisoned_memory(kind, monkeypatch):
    tensors = [None if x is None else x.float().to(DEVICE) for x in inputs(kind, 70, 20, 24)]
    expected = gradients(
        IMPLEMENTATIONS["triton"], tensors, [1 + draw(1, 70, 2, 24), draw(1, 2, 20, 24)], torch.float32, DEVICE
    )
    for name in ("new_empty",):
        plain = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda *a, plain=plain, **k: plain(*a, **k).fill_(float("nan")))
    for name in ("empty", "empty_like"):
        plain = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *a, plain=plain, **k: plain(*a, **k).fill_(float("nan")))
    sliced = [None if x is None else poisoned(x) for x in tensors]
    found = gradients(
        IMPLEMENTATIONS["triton"], sliced, [1 + draw(1, 70, 2, 24), draw(1, 2, 20, 24)], torch.float32, DEVICE
    )
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keys, values", [(16, 16), (5, 70), (128, 64)])
def test_step(kind, keys, values):
    q, k, v, decay, state = inputs(kind, 1, keys, values)
    token = [None if x is None else x[:, 0] for x in (q, k, v, decay)]
    expected = STEPS["reference"](*token, state, 0.7)
    found = STEPS["triton"](*(None if x is None else x.float().to(DEVICE) for x in (*token, state)), 0.7)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.cpu().double(), b, rtol=1e-5, atol=1e-5)
