"""Every implementation of every operator against the naive recurrence in float64: values, states and all gradients."""

import importlib
import importlib.util

import pytest
import torch
from torch.nn.functional import normalize

from kernels import (
    delta_rule,
    delta_rule_step,
    gated_scan,
    gated_scan_step,
    linear_attention,
    linear_attention_step,
    softmax_attention,
    softmax_attention_step,
)

B, H, K, V = 2, 2, 6, 4
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TRITON = importlib.util.find_spec("triton") is not None
LENGTHS = [1, 2, 33, 64, 100]
DECAYS = ["none", "fixed", "scalar", "vector"]
STRENGTHS = {"weak": 1e-3, "medium": 0.3, "strong": 20.0}
SPANS = {**STRENGTHS, "chunks of 16": 1.5, "chunks of 8": 3.0, "pairs": 6.0}
"""And those whose sums leave that much to the chunked form of linear attention."""


def others(operator: str) -> list[str]:
    """All implementations but the reference."""
    forms = importlib.import_module(f"kernels.{operator}").IMPLEMENTATIONS
    return [name for name in forms if name != "reference" and (name != "triton" or TRITON)]


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=torch.float64)


def log_decay(kind, strength, length):
    shape = {"fixed": (H,), "scalar": (B, length, H), "vector": (B, length, H, K)}.get(kind)
    return None if shape is None else -strength * draw(*shape, seed=7).sigmoid() * (2 if strength < 20 else 1)


def outcome(function, inputs, backend, monkeypatch, dtype=torch.float64):
    """Outputs, and gradients of a weighted sum of all outputs, final state included."""
    monkeypatch.setenv("KERNELS_BACKEND", backend)
    device = DEVICE if backend == "triton" else "cpu"
    leaves = {k: v.to(device, dtype).requires_grad_() if isinstance(v, torch.Tensor) else v for k, v in inputs.items()}
    outputs = function(leaves)
    weighted = sum((o * draw(*o.shape, seed=3).to(o)).sum() for o in outputs)
    wanted = [v for v in leaves.values() if isinstance(v, torch.Tensor)]
    gradients = torch.autograd.grad(weighted, wanted, allow_unused=True)
    found = [*outputs, *(torch.zeros_like(x) if g is None else g for g, x in zip(gradients, wanted, strict=True))]
    return [x.cpu() for x in found]


def compare(function, inputs, backend, monkeypatch, tolerance=1e-5):
    expected = outcome(function, inputs, "reference", monkeypatch)
    if backend != "triton":  # which has no float64
        for found, exact in zip(outcome(function, inputs, backend, monkeypatch), expected, strict=True):
            torch.testing.assert_close(found, exact, rtol=1e-8, atol=1e-10)
    single = outcome(function, inputs, backend, monkeypatch, torch.float32)
    for found, exact in zip(single, expected, strict=True):
        error = (found.double() - exact).square().mean().sqrt()
        # The absolute part is for gradients of strong decays: tiny differences of sums that are not.
        assert error <= 2e-5 * exact.square().mean().sqrt() + tolerance


@pytest.mark.parametrize("backend", others("linear_attention"))
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("strength", STRENGTHS.values(), ids=STRENGTHS)
@pytest.mark.parametrize("kind", DECAYS)
def test_linear_attention(kind, strength, length, backend, monkeypatch):
    inputs = {
        "q": draw(B, length, H, K), "k": draw(B, length, H, K, seed=1), "v": draw(B, length, H, V),
        "log_decay": log_decay(kind, strength, length), "state": draw(B, H, K, V),
    }  # fmt: skip
    compare(
        lambda x: linear_attention(x["q"], x["k"], x["v"], x["log_decay"], initial_state=x["state"]),
        inputs, backend, monkeypatch,
        tolerance=1e-5 * (B * length if kind == "fixed" else 1),  # its gradient is a sum over all tokens
    )  # fmt: skip


@pytest.mark.parametrize("backend", others("linear_attention"))
@pytest.mark.parametrize("length", [1, 100])
@pytest.mark.parametrize("strength", SPANS.values(), ids=SPANS)
@pytest.mark.parametrize("kind", DECAYS)
def test_heads_of_a_group_share_queries_and_keys(kind, strength, length, backend, monkeypatch):
    inputs = {
        "q": draw(B, length, 1, K), "k": draw(B, length, 1, K, seed=1), "v": draw(B, length, H, V),
        "log_decay": log_decay(kind, strength, length), "state": draw(B, H, K, V),
    }  # fmt: skip
    compare(
        lambda x: linear_attention(x["q"], x["k"], x["v"], x["log_decay"], initial_state=x["state"]),
        inputs, backend, monkeypatch,
        tolerance=1e-5 * (B * length if kind == "fixed" else 1),
    )  # fmt: skip


@pytest.mark.parametrize("backend", others("delta_rule"))
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("strength", [None, *STRENGTHS.values()], ids=["none", *STRENGTHS])
@pytest.mark.parametrize("keys", ["different", "repeated"])
@pytest.mark.parametrize("kind", ["scalar", "vector"])
def test_delta_rule(kind, keys, strength, length, backend, monkeypatch):
    k = normalize(draw(B, length, H, K, seed=1), dim=-1)
    if keys == "repeated":
        k = k[:, :1].expand(-1, length, -1, -1).contiguous()
    beta = 0.999 * torch.ones(B, length, H, dtype=torch.float64) if keys == "repeated" else draw(B, length, H).sigmoid()
    inputs = {
        "q": draw(B, length, H, K), "k": k, "v": draw(B, length, H, V), "beta": beta,
        "log_decay": None if strength is None else log_decay(kind, strength, length), "state": draw(B, H, K, V),
    }  # fmt: skip
    compare(
        lambda x: delta_rule(x["q"], x["k"], x["v"], x["beta"], x["log_decay"], initial_state=x["state"]),
        inputs, backend, monkeypatch,
    )  # fmt: skip


@pytest.mark.parametrize("backend", others("delta_rule"))
def test_delta_rule_with_decays_that_leave_nothing(backend, monkeypatch):
    """Stronger than the shortest chunk can hold: of the state before, nothing counts."""
    inputs = {
        "q": draw(B, 33, H, K), "k": normalize(draw(B, 33, H, K, seed=1), dim=-1), "v": draw(B, 33, H, V),
        "beta": draw(B, 33, H).sigmoid(), "log_decay": log_decay("vector", 1000.0, 33), "state": draw(B, H, K, V),
    }  # fmt: skip
    compare(
        lambda x: delta_rule(x["q"], x["k"], x["v"], x["beta"], x["log_decay"], initial_state=x["state"]),
        inputs, backend, monkeypatch,
    )  # fmt: skip


@pytest.mark.parametrize("backend", others("gated_scan"))
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("strength", STRENGTHS.values(), ids=STRENGTHS)
def test_gated_scan(strength, length, backend, monkeypatch):
    inputs = {"x": draw(B, length, 5), "a": -strength * draw(B, length, 5).sigmoid(), "state": draw(B, 5)}
    compare(lambda x: gated_scan(x["x"], x["a"], initial_state=x["state"]), inputs, backend, monkeypatch)


@pytest.mark.parametrize("backend", others("softmax_attention"))
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("window", [None, 1, 5, 1000])
@pytest.mark.parametrize("past", [0, 9])
def test_softmax_attention(past, window, length, backend, monkeypatch):
    inputs = {"q": draw(B, length, 4, K), "k": draw(B, length, 2, K, seed=1), "v": draw(B, length, 2, V)}
    if past:
        inputs |= {"keys": draw(B, past, 2, K), "values": draw(B, past, 2, V)}

    def function(x):
        cache = (x["keys"], x["values"]) if past else None
        o, state = softmax_attention(x["q"], x["k"], x["v"], window=window, initial_state=cache)
        return [o, *state]

    compare(function, inputs, backend, monkeypatch)


def sequences(length=23):
    """Operator -> (whole-sequence function, step function, inputs [B, T, ...], initial state)."""
    q, k, v = draw(B, length, H, K), normalize(draw(B, length, H, K, seed=1), dim=-1), draw(B, length, H, V)
    beta, scalar, vector = (
        draw(B, length, H).sigmoid(),
        log_decay("scalar", 0.3, length),
        log_decay("vector", 0.3, length),
    )
    memory = draw(B, H, K, V)
    x, decay = draw(B, length, 5), -draw(B, length, 5).sigmoid()
    grouped = draw(B, length, 1, K), draw(B, length, 1, V)
    cache = draw(B, 3, 1, K), draw(B, 3, 1, V)

    def attention(window):
        return (
            lambda s, *i: softmax_attention(*i, window=window, initial_state=s),
            lambda s, *i: softmax_attention_step(*i, s, window=window),
            (q, *grouped), cache,
        )  # fmt: skip

    return {
        "linear": (lambda s, *i: linear_attention(*i, initial_state=s),
                   lambda s, *i: linear_attention_step(*i, s), (q, k, v, vector), memory),
        "linear, scalar": (lambda s, *i: linear_attention(*i, initial_state=s),
                           lambda s, *i: linear_attention_step(*i, s), (q, k, v, scalar), memory),
        "linear, no decay": (lambda s, *i: linear_attention(*i, initial_state=s),
                             lambda s, q, k, v: linear_attention_step(q, k, v, None, s), (q, k, v), memory),
        "linear, in groups": (lambda s, *i: linear_attention(*i, initial_state=s),
                              lambda s, *i: linear_attention_step(*i, s),
                              (q[:, :, :1], k[:, :, :1], v, scalar), memory),
        "delta": (lambda s, *i: delta_rule(*i, initial_state=s),
                  lambda s, *i: delta_rule_step(*i, s), (q, k, v, beta, scalar), memory),
        "delta, by key": (lambda s, *i: delta_rule(*i, initial_state=s),
                          lambda s, *i: delta_rule_step(*i, s), (q, k, v, beta, vector), memory),
        "delta, no decay": (lambda s, *i: delta_rule(*i, initial_state=s),
                            lambda s, q, k, v, b: delta_rule_step(q, k, v, b, None, s), (q, k, v, beta), memory),
        "scan": (lambda s, *i: gated_scan(*i, initial_state=s),
                 lambda s, *i: gated_scan_step(*i, s), (x, decay), x[:, 0]),
        "attention": attention(None), "window": attention(5),
    }  # fmt: skip


def same(a, b):
    for x, y in zip(a if isinstance(a, tuple) else (a,), b if isinstance(b, tuple) else (b,), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", sequences())
def test_step_by_step_equals_all_at_once(name):
    whole, step, inputs, state = sequences()[name]
    expected, final = whole(state, *inputs)
    for t in range(expected.shape[1]):
        o, state = step(state, *(x[:, t] for x in inputs))
        same(o, expected[:, t])
    same(state, final)


@pytest.mark.parametrize("name", sequences())
def test_a_sequence_in_two_parts(name):
    whole, _, inputs, state = sequences()[name]
    expected, final = whole(state, *inputs)
    first, between = whole(state, *(x[:, :10] for x in inputs))
    second, end = whole(between, *(x[:, 10:] for x in inputs))
    same(torch.cat([first, second], 1), expected)
    same(end, final)


@pytest.mark.parametrize("name", sequences())
def test_no_output_depends_on_a_later_token(name):
    whole, _, inputs, state = sequences()[name]
    changed = [torch.cat([x[:, :15], x[:, 15:].flip(1)], 1) for x in inputs]
    torch.testing.assert_close(whole(state, *changed)[0][:, :15], whole(state, *inputs)[0][:, :15], rtol=0, atol=1e-12)


def test_wrong_shapes_are_named():
    q, v = draw(B, 3, H, K), draw(B, 3, H, V)
    with pytest.raises(ValueError, match="k has shape"):
        linear_attention(q, q[:, :2], v)
    with pytest.raises(ValueError, match="3 shared heads: expected a divisor of 2"):
        linear_attention(draw(B, 3, 3, K), draw(B, 3, 3, K), v)
    with pytest.raises(ValueError, match="beta has shape"):
        delta_rule(q, q, v, draw(B, 2, H))
    with pytest.raises(ValueError, match="initial_state has shape"):
        gated_scan(draw(B, 3, 5), draw(B, 3, 5), initial_state=draw(B, 4))
    with pytest.raises(ValueError, match="multiple of the 2 key-value heads"):
        softmax_attention(draw(B, 3, 3, K), draw(B, 3, 2, K), draw(B, 3, 2, V))


def test_unknown_backends_are_named(monkeypatch):
    monkeypatch.setenv("KERNELS_BACKEND", "fast")
    with pytest.raises(ValueError, match="KERNELS_BACKEND=fast: expected one of reference, chunked"):
        gated_scan(draw(B, 3, 5), draw(B, 3, 5))
