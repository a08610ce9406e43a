"""The delta rule in Triton at the edges: sizes, lengths, strides, missing gradients, memory that nobody wrote to."""

import pytest
import torch
from torch.nn.functional import normalize

pytest.importorskip("triton")

from kernels import delta_rule, delta_rule_step

B, H = 2, 2
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NAMES = ["q", "k", "v", "beta", "log_decay", "state"]


def draw(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sample(length, keys, values, *, batch=B, decay="by token", state=True):
    """`decay`: "by token", "by key" or None."""
    shape = (batch, length, H, keys) if decay == "by key" else (batch, length, H)
    return {
        "q": draw(batch, length, H, keys, seed=1),
        "k": normalize(draw(batch, length, H, keys, seed=2), dim=-1),
        "v": draw(batch, length, H, values, seed=3),
        "beta": draw(batch, length, H, seed=4).sigmoid(),
        "log_decay": -0.3 * draw(*shape, seed=5).sigmoid() if decay else None,
        "state": draw(batch, H, keys, values, seed=6) if state else None,
    }


def run(inputs, backend, monkeypatch, outputs=("o", "final")):
    """The outputs, and gradients of a weighted sum of those named."""
    monkeypatch.setenv("KERNELS_BACKEND", backend)
    o, final = delta_rule(*(inputs[n] for n in NAMES[:5]), initial_state=inputs["state"])
    found = {"o": o, "final": final}
    loss = sum((found[n] * draw(*found[n].shape, seed=9).to(found[n])).sum() for n in outputs)
    leaves = {n: x for n, x in inputs.items() if x is not None}
    gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return found | dict(zip(leaves, gradients, strict=True))


def close(found, expected):
    for name, exact in expected.items():
        got = found[name]
        exact = torch.zeros_like(got, dtype=torch.float64, device="cpu") if exact is None else exact
        error = (got.cpu().double() - exact).square().mean().sqrt()
        assert error <= 2e-5 * exact.square().mean().sqrt() + 1e-5, name


def compare(exact, monkeypatch, outputs=("o", "final"), prepare=lambda x: x):
    leaves = {n: x if x is None else x.clone().requires_grad_() for n, x in exact.items()}
    expected = run(leaves, "reference", monkeypatch, outputs)
    single = {n: x if x is None else prepare(x.to(DEVICE, torch.float32)).requires_grad_() for n, x in exact.items()}
    found = run(single, "triton", monkeypatch, outputs)
    close(found, expected)
    for name, x in single.items():
        assert x is None or (found[name].shape == x.shape and found[name].dtype == x.dtype)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 130])
@pytest.mark.parametrize("keys, values", [(16, 16), (64, 128), (128, 64), (40, 80)])
@pytest.mark.parametrize("decay", ["by token", "by key"])
def test_sizes(decay, keys, values, length, monkeypatch):
    compare(sample(length, keys, values, batch=1, decay=decay), monkeypatch)


@pytest.mark.parametrize("length", [3, 70])
@pytest.mark.parametrize("decay", ["by token", "by key"])
def test_large_heads(decay, length, monkeypatch):
    compare(sample(length, 256, 256, batch=1, decay=decay), monkeypatch)


def test_values_of_512(monkeypatch):
    compare(sample(66, 130, 512, batch=1), monkeypatch)


@pytest.mark.parametrize("outputs", [("o",), ("final",)])
@pytest.mark.parametrize("decay", ["by token", "by key", None])
@pytest.mark.parametrize("state", [True, False])
def test_parts(state, decay, outputs, monkeypatch):
    compare(sample(70, 8, 24, decay=decay, state=state), monkeypatch, outputs)


@pytest.mark.parametrize("decay", ["by token", "by key"])
def test_decay_as_strong_as_can_be(decay, monkeypatch):
    inputs = sample(140, 16, 16, decay=decay)
    inputs["log_decay"] = -200 * torch.ones_like(inputs["log_decay"])
    inputs["log_decay"][:, ::3] = -0.01
    compare(inputs, monkeypatch)


@pytest.mark.parametrize("decay", ["by token", "by key"])
def test_gradients_of_a_few_inputs(decay, monkeypatch):
    exact = sample(70, 8, 24, decay=decay)
    for wanted in (["v"], ["state"], ["beta", "q"], ["log_decay"]):
        results = []
        for backend, dtype, device in (("reference", torch.float64, "cpu"), ("triton", torch.float32, DEVICE)):
            monkeypatch.setenv("KERNELS_BACKEND", backend)
            x = {n: y.to(device, dtype, copy=True).requires_grad_(n in wanted) for n, y in exact.items()}
            o, final = delta_rule(*(x[n] for n in NAMES[:5]), initial_state=x["state"])
            (o.sum() + final.sum()).backward()  # a gradient without strides
            results.append({n: y.grad for n, y in x.items()})
            assert [n for n, y in x.items() if y.grad is not None] == [n for n in NAMES if n in wanted]
        close(results[1], {n: results[0][n] for n in wanted})


def poisoned(x):
    """The same values as a part of a buffer whose other values are NaN."""
    buffer = torch.full([n + 3 for n in x.shape[:-1]] + [3 * x.shape[-1] + 7], torch.nan, device=x.device)
    part = buffer[tuple(slice(1, n + 1) for n in x.shape[:-1])][..., 2 : 2 + x.shape[-1]]
    return part.copy_(x).detach()


@pytest.mark.parametrize(
    "keys, values, decay",
    [(6, 20, "by token"), (24, 5, None), (144, 17, "by token"), (6, 20, "by key"), (144, 17, "by key")],
)
def test_nothing_outside_the_inputs_is_read(keys, values, decay, monkeypatch):
    empty, like = torch.empty, torch.empty_like
    monkeypatch.setattr(torch, "empty", lambda *a, **k: empty(*a, **k).fill_(torch.nan))
    monkeypatch.setattr(torch, "empty_like", lambda *a, **k: like(*a, **k).fill_(torch.nan))
    compare(sample(70, keys, values, decay=decay), monkeypatch, prepare=poisoned)


@pytest.mark.parametrize("decay", ["by token", "by key"])
def test_slices_of_one_projection(decay, monkeypatch):
    length, keys, values = 67, 16, 32
    exact = sample(length, keys, values, decay=decay)
    joined = torch.cat([exact[n].flatten(2) for n in ("q", "k", "v")], -1)
    results = []
    for backend, dtype, device in (("reference", torch.float64, "cpu"), ("triton", torch.float32, DEVICE)):
        monkeypatch.setenv("KERNELS_BACKEND", backend)
        x = joined.to(device, dtype, copy=True).requires_grad_()
        parts = x.split([H * keys, H * keys, H * values], -1)
        q, k, v = (part.unflatten(-1, (H, -1)) for part in parts)
        gates = [exact[n].to(device, dtype) for n in ("beta", "log_decay")]
        beta, log_decay = (x.transpose(1, -1).contiguous().transpose(1, -1) for x in gates)
        o, final = delta_rule(q, k, v, beta, log_decay)
        (o.square().sum() + final.square().sum()).backward()
        results.append({"o": o, "final": final, "x": x.grad})
    close(results[1], results[0])


@pytest.mark.parametrize("decay", ["by token", "by key"])
def test_dtypes(decay, monkeypatch):
    monkeypatch.setenv("KERNELS_BACKEND", "triton")
    exact = sample(5, 16, 16, decay=decay)
    x = {n: y.to(DEVICE, torch.float16 if n in "qkv" else torch.float32) for n, y in exact.items()}
    x = {n: y.requires_grad_() for n, y in x.items()}
    o, final = delta_rule(*(x[n] for n in NAMES[:5]), initial_state=x["state"])
    assert (o.dtype, final.dtype) == (torch.float16, torch.float32)
    (o.float().sum() + final.sum()).backward()
    assert all(y.grad.dtype == y.dtype and y.grad.isfinite().all() for y in x.values())


@pytest.mark.parametrize("decay", ["by token", "by key", None])
@pytest.mark.parametrize("keys, values", [(16, 16), (128, 64), (256, 80), (5, 300)])
def test_step(keys, values, decay, monkeypatch):
    exact = sample(1, keys, values, batch=3, decay=decay)
    exact = {n: x if x is None or n == "state" else x[:, 0] for n, x in exact.items()}
    monkeypatch.setenv("KERNELS_BACKEND", "reference")
    expected = delta_rule_step(*exact.values())
    monkeypatch.setenv("KERNELS_BACKEND", "triton")
    x = [y if y is None else y.to(DEVICE, torch.float32) for y in exact.values()]
    x[:5] = [y if y is None else poisoned(y) for y in x[:5]]
    state = x[5].clone()
    found = delta_rule_step(*x)
    close({"o": found[0], "state": found[1]}, {"o": expected[0], "state": expected[1]})
    assert torch.equal(x[5], state)


@pytest.mark.parametrize("decay", ["by token", "by key"])
def test_step_with_gradients(decay, monkeypatch):
    exact = {n: x if n == "state" else x[:, 0] for n, x in sample(1, 16, 24, decay=decay).items()}
    results = []
    for backend, dtype, device in (("reference", torch.float64, "cpu"), ("triton", torch.float32, DEVICE)):
        monkeypatch.setenv("KERNELS_BACKEND", backend)
        x = {n: y.to(device, dtype, copy=True).requires_grad_() for n, y in exact.items()}
        o, state = delta_rule_step(*x.values())
        (o.square().sum() + state.square().sum()).backward()
        results.append({n: y.grad for n, y in x.items()})
    close(results[1], results[0])
