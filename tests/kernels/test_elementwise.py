"""The operators on elements: both forms of each against a formula in float64, values and all gradients."""

import importlib
import importlib.util
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from kernels import rms_norm, rotary, short_convolution, short_convolution_step, swiglu

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BACKENDS = ["chunked", *(["triton"] if importlib.util.find_spec("triton") is not None else [])]
pytestmark = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(autouse=True)
def poisoned(monkeypatch):
    """What a kernel does not write is NaN, not by chance what is right."""
    empty, new_empty = torch.empty, torch.Tensor.new_empty

    def fill(x):
        return x.fill_(float("nan")) if x.is_floating_point() else x

    monkeypatch.setattr(torch, "empty", lambda *a, **k: fill(empty(*a, **k)))
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda *a, **k: fill(new_empty(*a, **k)))


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=torch.float64)


def within(x):
    """x as a slice of a larger tensor: last dimension contiguous, all other strides larger."""
    wide = torch.full((*x.shape[:-1], x.shape[-1] + 5), float("nan"), dtype=x.dtype, device=x.device)
    wide[..., 3:-2] = x.detach()
    return wide[..., 3:-2]


def differentiated(function, inputs):
    """Outputs of `function`, then the gradients of a weighted sum of them, zero where there is none."""
    outputs = function(*inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    weighted = sum((o * draw(*o.shape, seed=3).to(o)).sum() for o in outputs)
    wanted = [x for x in inputs if x is not None]
    gradients = torch.autograd.grad(weighted, wanted, allow_unused=True)
    return [*outputs, *(torch.zeros_like(x) if g is None else g for g, x in zip(gradients, wanted, strict=True))]


def compare(function, exact, inputs, backend, monkeypatch, *, sliced=False):
    """`function` in float32 against `exact` in float64."""
    expected = differentiated(exact, [None if x is None else x.requires_grad_() for x in inputs])
    monkeypatch.setenv("KERNELS_BACKEND", backend)
    device = DEVICE if backend == "triton" else "cpu"
    single = [None if x is None else x.detach().to(device, torch.float32) for x in inputs]
    if sliced:
        single = [None if x is None else within(x) if x.dim() > 2 else x for x in single]
    found = differentiated(function, [None if x is None else x.requires_grad_() for x in single])
    for value, right in zip(found, expected, strict=True):
        assert value.shape == right.shape
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.cpu().double(), right, rtol=2e-5, atol=2e-5)


def naive_convolution(x, weight, bias, state, activation):
    cached = weight.shape[1] - 1
    past = x.new_zeros(x.shape[0], cached, x.shape[2]) if state is None else state
    inputs = torch.cat([past, x], 1)
    y = torch.stack([(inputs[:, t : t + cached + 1] * weight.T).sum(1) for t in range(x.shape[1])], 1)
    y = y if bias is None else y + bias
    return F.silu(y) if activation else y, inputs[:, x.shape[1] :]


@pytest.mark.parametrize("bias", [False, True], ids=["unbiased", "biased"])
@pytest.mark.parametrize("activation", [False, True], ids=["plain", "silu"])
@pytest.mark.parametrize("past", [False, True], ids=["start", "past"])
@pytest.mark.parametrize(
    ("width", "length", "channels"), [(1, 3, 5), (2, 1, 5), (3, 40, 70), (4, 1, 5), (4, 2, 5), (4, 70, 3), (5, 33, 65)]
)
def test_short_convolution(width, length, channels, past, activation, bias, backend, monkeypatch):
    inputs = [draw(2, length, channels), draw(channels, width), draw(channels) if bias else None]
    inputs.append(draw(2, width - 1, channels) if past else None)
    compare(
        lambda x, w, b, s: short_convolution(x, w, bias=b, activation=activation, initial_state=s),
        lambda x, w, b, s: naive_convolution(x, w, b, s, activation),
        inputs, backend, monkeypatch, sliced=length > 30,
    )  # fmt: skip


@pytest.mark.parametrize("past", [False, True], ids=["start", "past"])
def test_short_convolution_of_more_tokens_than_a_program_takes(past, backend, monkeypatch):
    inputs = [draw(1, 515, 3), draw(3, 4), draw(3), draw(1, 3, 3) if past else None]
    compare(
        lambda x, w, b, s: short_convolution(x, w, bias=b, activation=True, initial_state=s),
        lambda x, w, b, s: naive_convolution(x, w, b, s, True),
        inputs, backend, monkeypatch,
    )  # fmt: skip


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("activation", [False, True], ids=["plain", "silu"])
@pytest.mark.parametrize("width", [1, 2, 4, 5])
def test_short_convolution_step_by_step(width, activation, gradients, backend, monkeypatch):
    monkeypatch.setenv("KERNELS_BACKEND", backend)
    device = DEVICE if backend == "triton" else "cpu"
    channels = 5 if gradients else 300
    inputs = draw(2, 6, channels), draw(channels, width), draw(channels), draw(2, width - 1, channels)
    x, weight, bias, state = (d.to(device).float() for d in inputs)
    weight.requires_grad_(gradients)
    expected, last = naive_convolution(x, weight, bias, state, activation)
    outputs = []
    for t in range(6):
        y, state = short_convolution_step(x[:, t], weight, state, bias=bias, activation=activation)
        outputs.append(y)
    torch.testing.assert_close(torch.stack(outputs, 1), expected)
    torch.testing.assert_close(state, last)
    if gradients:
        (expected_gradient,) = torch.autograd.grad(expected.square().sum(), weight)
        (gradient,) = torch.autograd.grad(sum(y.square().sum() for y in outputs), weight)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-4)


def test_short_convolution_keeps_no_more_than_it_must(backend, monkeypatch):
    monkeypatch.setenv("KERNELS_BACKEND", "triton" if backend == "triton" else "chunked")
    x = draw(2, 50, 6).to(DEVICE if backend == "triton" else "cpu", torch.float32)
    _, state = short_convolution(x, x.new_ones(6, 4))
    if backend == "triton":
        assert state.untyped_storage().nbytes() == 2 * 3 * 6 * 4


def naive_norm(x, weight, gate, eps=1e-5):
    y = x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight
    return y if gate is None else y * gate * gate.sigmoid()


@pytest.mark.parametrize("sliced", [False, True], ids=["whole", "sliced"])
@pytest.mark.parametrize("gated", [False, True], ids=["plain", "gated"])
@pytest.mark.parametrize("shape", [(1,), (7,), (3, 64), (2, 5, 33), (2, 9, 3, 20), (1, 1, 1, 1), (2, 3, 2, 2, 6)])
def test_rms_norm(shape, gated, sliced, backend, monkeypatch):
    inputs = [3 * draw(*shape), 1 + draw(shape[-1]), draw(*shape, seed=1) if gated else None]
    compare(rms_norm, naive_norm, inputs, backend, monkeypatch, sliced=sliced)


def test_rms_norm_of_more_rows_than_there_are_programs(backend, monkeypatch):
    if backend == "triton":
        kernels = importlib.import_module("kernels.rms_norm.triton")
        monkeypatch.setattr(kernels, "PROGRAMS", 3)
        monkeypatch.setattr(kernels, "ELEMENTS", 64)
    inputs = [draw(7, 5, 20), 1 + draw(20), draw(7, 5, 20, seed=1)]
    compare(rms_norm, naive_norm, inputs, backend, monkeypatch, sliced=True)


def naive_rotary(x, position, theta):
    x = x.unsqueeze(1) if x.dim() == 3 else x
    half = x.shape[-1] // 2
    places = torch.arange(position, position + x.shape[1], dtype=torch.float64)
    turns = torch.polar(
        torch.ones(x.shape[1], half, dtype=torch.float64),
        places[:, None] * theta ** (-torch.arange(half, dtype=torch.float64) / half),
    )
    pairs = torch.complex(x[..., :half], x[..., half:]) * turns[:, None]
    return torch.cat([pairs.real, pairs.imag], -1)


@pytest.mark.parametrize("position", [0, 1, 37])
@pytest.mark.parametrize("shape", [(2, 7, 3, 6), (1, 2, 5, 2), (2, 4, 16), (3, 1, 1, 128)])
def test_rotary(shape, position, backend, monkeypatch):
    compare(
        lambda x: rotary(x, position, 100.0), lambda x: naive_rotary(x, position, 100.0).reshape(shape),
        [draw(*shape)], backend, monkeypatch, sliced=True,
    )  # fmt: skip


def test_rotary_of_more_heads_than_a_program_takes(backend, monkeypatch):
    if backend == "triton":
        monkeypatch.setattr(importlib.import_module("kernels.rotary.triton"), "PAIRS", 8)
    compare(
        lambda x: rotary(x, 5, 1e4), lambda x: naive_rotary(x, 5, 1e4), [draw(2, 3, 7, 6)], backend, monkeypatch
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(2,), (3, 10), (2, 3, 34), (1, 2, 1030)])
def test_swiglu(shape, backend, monkeypatch):
    compare(
        swiglu, lambda x: F.silu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1], [draw(*shape)], backend, monkeypatch,
        sliced=True,
    )  # fmt: skip


def test_a_gradient_that_is_expanded(backend, monkeypatch):
    monkeypatch.setenv("KERNELS_BACKEND", backend)
    device = DEVICE if backend == "triton" else "cpu"
    x = draw(2, 3, 2, 6).to(device, torch.float32).requires_grad_()
    swiglu(x).sum().backward()
    rms_norm(x, x.new_ones(6), x).sum().backward()
    rotary(x, 2, 10.0).sum().backward()
    short_convolution(x.flatten(2), x.new_ones(12, 3))[0].sum().backward()
    assert x.grad.isfinite().all()


def test_wrong_shapes_are_named(backend, monkeypatch):
    monkeypatch.setenv("KERNELS_BACKEND", backend)
    x = draw(2, 3, 5)
    with pytest.raises(ValueError, match="weight has shape"):
        short_convolution(x, draw(4, 2))
    with pytest.raises(ValueError, match="initial_state has shape"):
        short_convolution(x, draw(5, 3), initial_state=draw(2, 3, 5))
    with pytest.raises(ValueError, match="gate has shape"):
        rms_norm(x, draw(5), draw(2, 3, 1))
    with pytest.raises(ValueError, match="5 elements a head"):
        rotary(x, 0, 10.0)
    with pytest.raises(ValueError, match="5 elements: expected an even number"):
        swiglu(x)


def test_every_operator_has_a_triton_form(backend):
    for operator in ("rms_norm", "rotary", "short_convolution", "swiglu"):
        module = importlib.import_module(f"kernels.{operator}")
        assert (Path(module.__file__).parent / "triton.py").exists()
        assert backend in module.IMPLEMENTATIONS
