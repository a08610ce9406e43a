"""The Triton form of softmax attention: windows, cached tokens, groups, sizes, strides, memory that nobody wrote."""

import itertools
import math

import pytest
import torch

pytest.importorskip("triton")

from kernels.softmax_attention import reference, triton_decode
from kernels.softmax_attention import triton as kernels

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NAN = float("nan")


@pytest.fixture(autouse=True)
def poisoned(monkeypatch):
    """Fresh memory holds NaN: whoever reads what nobody wrote shows it."""
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *shape, **options: empty(*shape, **options).fill_(NAN))


@pytest.fixture
def small_tiles(monkeypatch):
    """Short sequences meet all kinds of tiles: cut by either edge of the window, whole, past the end."""
    monkeypatch.setattr(kernels, "_blocks", lambda kernel, width: (32, 16) if kernel != "keys" else (16, 32))


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=torch.float64)


def slices(q, k, v):
    """The same values as slices of one projection [B, T, .] where lengths allow, with NaN around them."""
    found = []
    for x in (q, k, v):
        batch, length, heads, size = x.shape
        buffer = torch.full((batch + 1, length + 3, heads * size + 9), NAN, device=DEVICE)
        view = buffer[:batch, 2 : 2 + length, 5 : 5 + heads * size].unflatten(-1, (heads, size))
        view.copy_(x)
        found.append(view.detach().requires_grad_())
    return found


def close(found, exact):
    error = (found.cpu().double() - exact).square().mean().sqrt()
    assert error <= 2e-5 * exact.square().mean().sqrt() + 1e-5


def inputs(new, past, heads, groups, key_size, value_size, batch=1):
    total = past + new
    k, v = draw(batch, total, groups, key_size, seed=1), draw(batch, total, groups, value_size, seed=2)
    return draw(batch, new, heads, key_size), k, v


def check(tensors, window, function=kernels.Attention.apply, scale=None):
    """Values and gradients of our own kernels."""
    scale = tensors[0].shape[-1] ** -0.5 if scale is None else scale
    exact_inputs = [x.clone().requires_grad_() for x in tensors]
    exact = reference.softmax_attention(*exact_inputs, window, scale)
    weight = draw(*exact.shape, seed=3)
    exact = [exact, *torch.autograd.grad((exact * weight).sum(), exact_inputs)]
    leaves = slices(*tensors)
    o = function(*leaves, window, scale)
    found = [o, *torch.autograd.grad((o * weight.to(o)).sum(), leaves)]
    for a, b in zip(found, exact, strict=True):
        close(a, b)


@pytest.mark.parametrize("past", [0, 9, 70])
@pytest.mark.parametrize("window", [None, 1, 5, 64, 100])
def test_windows_and_lengths(window, past, small_tiles):
    for new in (1, 63, 64, 65):
        check(inputs(new, past, 2, 1, 16, 16), window)


@pytest.mark.parametrize(("window", "past"), [(None, 70), (5, 9), (100, 70)])
def test_tiles_of_the_real_size(window, past):
    check(inputs(200, past, 2, 1, 16, 16), window)


@pytest.mark.parametrize("sizes", [(16, 16), (16, 64), (64, 32), (40, 24), (1, 3), (128, 128), (256, 96), (192, 256)])
def test_head_sizes(sizes):
    check(inputs(70, 9, 1, 1, *sizes), 33)


@pytest.mark.parametrize(("heads", "groups"), [(1, 1), (3, 3), (4, 2), (6, 1)])
@pytest.mark.parametrize("window", [None, 20])
def test_groups_and_batches(heads, groups, window, small_tiles):
    check(inputs(37, 5, heads, groups, 16, 16, batch=2), window, kernels.softmax_attention)


@pytest.mark.filterwarnings("ignore:overflow")  # of scores that the mask leaves out
def test_large_scores(small_tiles):
    check(inputs(40, 9, 2, 1, 16, 16), 30, scale=30.0)


def test_only_wanted_gradients():
    q, k, v = slices(*inputs(33, 9, 2, 1, 16, 16))
    every = torch.autograd.grad(kernels.Attention.apply(q, k, v, 20, 0.25).sum(), [q, k, v])
    for i, leaf in enumerate((q, k, v)):
        alone = [x.detach() for x in (q, k, v)]
        alone[i].requires_grad_()
        (gradient,) = torch.autograd.grad(kernels.Attention.apply(*alone, 20, 0.25).sum(), [alone[i]])
        assert torch.equal(gradient, every[i]), leaf.shape


@pytest.mark.parametrize("heads_per_group", [1, 4])
@pytest.mark.parametrize("window", [None, 5, 200])
@pytest.mark.parametrize("total", [1, 16, 77, 333])
def test_decoding(total, window, heads_per_group, monkeypatch):
    monkeypatch.setattr(triton_decode, "SHORTEST", 100)
    q, k, v = inputs(1, total - 1, 2 * heads_per_group, 2, 24, 40, batch=2)
    with torch.no_grad():
        close(
            kernels.softmax_attention(*slices(q, k, v), window, 0.3), reference.softmax_attention(q, k, v, window, 0.3)
        )


@pytest.mark.parametrize(("key_size", "value_size", "heads"), [(16, 16, 17), (256, 256, 2), (64, 128, 1), (7, 1, 3)])
def test_decoding_sizes(key_size, value_size, heads, monkeypatch):
    monkeypatch.setattr(triton_decode, "SHORTEST", 16)
    q, k, v = inputs(1, 299, heads, 1, key_size, value_size)
    with torch.no_grad():
        close(kernels.softmax_attention(*slices(q, k, v), None, 0.3), reference.softmax_attention(q, k, v, None, 0.3))


def test_many_stretches_are_joined(monkeypatch):
    monkeypatch.setattr(triton_decode, "SHORTEST", 16)
    monkeypatch.setattr(triton_decode, "_plan", lambda programs, visible: (math.ceil(visible / 16), 16))
    monkeypatch.setattr(triton_decode, "STEP", 16)
    q, k, v = inputs(1, 330, 2, 1, 16, 16)
    with torch.no_grad():
        close(kernels.softmax_attention(*slices(q, k, v), None, 3.0), reference.softmax_attention(q, k, v, None, 3.0))


def test_stretches_cover_the_cache():
    for programs, visible in itertools.product([1, 8, 64, 1000], [1, 128, 129, 1000, 32768, 200001]):
        splits, length = triton_decode._plan(programs, visible)
        assert (splits - 1) * length < visible <= splits * length
        assert length % triton_decode.STEP == 0 and splits <= triton_decode.MOST
    assert triton_decode._plan(8, 32768) == (32, 1024)


def test_which_operator_runs(monkeypatch):
    ran = []
    for name in ("_fused", "decode"):
        monkeypatch.setattr(kernels, name, lambda *_, name=name: ran.append(name))
    monkeypatch.setattr(kernels.Attention, "apply", lambda *_: ran.append("own"))
    monkeypatch.setattr(kernels.chunked, "softmax_attention", lambda *_: ran.append("chunked"))

    def which(new, past, sizes, window, dtype=torch.bfloat16, scale=1.0, gradients=False):
        q, k, v = (x.to(dtype).requires_grad_(gradients) for x in inputs(new, past, 2, 1, *sizes))
        kernels.softmax_attention(q, k, v, window, scale)
        return ran.pop()

    assert which(20, 0, (16, 16), None) == which(20, 0, (16, 16), 20) == "_fused"
    assert which(20, 0, (16, 16), None, torch.float32) == "chunked"
    assert which(20, 0, (16, 32), None) == which(20, 0, (12, 12), None) == "own"
    assert which(20, 0, (16, 16), 19) == which(20, 1, (16, 16), None) == "own"
    assert which(1, 20, (16, 16), None) == which(1, 20, (16, 16), 5) == which(1, 0, (16, 16), None) == "decode"
    assert which(1, 20, (16, 16), None, gradients=True) == "own"
    assert which(20, 0, (16, 320), 5) == which(20, 0, (16, 16), 5, scale=-1.0) == "chunked"


@pytest.mark.parametrize("heads", [2, 4])
def test_torchs_operator_in_16_bits(heads):
    q, k, v = inputs(50, 0, heads, 2, 16, 16)
    found = kernels.softmax_attention(*(x.detach().bfloat16() for x in slices(q, k, v)), None, 0.25)
    torch.testing.assert_close(
        found.cpu().double(), reference.softmax_attention(q, k, v, None, 0.25), atol=0.05, rtol=0.05
    )
