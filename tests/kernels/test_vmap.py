"""Operators under `torch.vmap` over models, against a loop over the models: values and all gradients."""

import importlib.util

import pytest
import torch

import kernels
from kernels.vmap import stacked

MODELS, BATCH, TOKENS, HEADS = 3, 2, 19, 2


def draw(*shape, models=MODELS):
    return torch.randn(models, *shape, dtype=torch.float64) if models else torch.randn(*shape, dtype=torch.float64)


def decay(*shape):
    return -draw(*shape).abs()


QK = BATCH, TOKENS, HEADS, 8
V = BATCH, TOKENS, HEADS, 5
STATE = BATCH, HEADS, 8, 5
# Operator, and a function that draws its inputs: [S, ...], or without the models where all share one.
CASES = {
    "delta_rule": ("delta_rule", lambda: [draw(*QK) / 3, draw(*QK) / 3, draw(*V), draw(*QK[:3]).sigmoid()]),
    "delta_rule-decayed": (
        "delta_rule",
        lambda: [draw(*QK) / 3, draw(*QK) / 3, draw(*V), draw(*QK[:3]).sigmoid(), decay(*QK[:3])],
    ),
    "delta_rule-by-key": (
        "delta_rule",
        lambda: [draw(*QK) / 3, draw(*QK) / 3, draw(*V), draw(*QK[:3]).sigmoid(), decay(*QK)],
    ),
    "dplr": ("dplr", lambda: [*(draw(*shape) / 3 for shape in (QK, QK, V, QK, QK)), decay(*QK)]),
    "dplr_step": (
        "dplr_step",
        lambda: [*(draw(BATCH, HEADS, n) for n in (8, 8, 5, 8, 8)), decay(BATCH, HEADS, 8), draw(*STATE)],
    ),
    "complex_scan": (
        "complex_scan",
        lambda: [draw(BATCH, TOKENS, 6), draw(6, 3), decay(6, 3), draw(6, 3), draw(6, 3, 2)],
    ),
    "local_linear_attention": (
        "local_linear_attention",
        lambda: [draw(*QK), draw(*QK), draw(*V), 0.5 + draw(BATCH, HEADS).abs(), 12],
    ),
    "mesa": (
        "mesa",
        lambda: [
            *(draw(*QK) / 3, draw(*QK) / 3, draw(*V), draw(*QK[:3]).sigmoid(), decay(*QK[:3])),
            *(0.5 + draw(BATCH, HEADS, 8).abs(), 12),
        ],
    ),
    "elementwise_attention": ("elementwise_attention", lambda: [draw(*QK), draw(*QK), draw(*V), "sigmoid"]),
    "gated_scan": ("gated_scan", lambda: [draw(BATCH, TOKENS, 6), decay(BATCH, TOKENS, 6)]),
    "linear_attention": ("linear_attention", lambda: [draw(*QK), draw(*QK), draw(*V)]),
    "linear_attention-fixed": ("linear_attention", lambda: [draw(*QK), draw(*QK), draw(*V), decay(HEADS)]),
    "linear_attention-fixed-for-all": (
        "linear_attention",
        lambda: [draw(*QK), draw(*QK), draw(*V), -draw(HEADS, models=0).abs()],
    ),
    "linear_attention-by-key": ("linear_attention", lambda: [draw(*QK), draw(*QK), draw(*V), decay(*QK)]),
    "long_convolution": ("long_convolution", lambda: [draw(BATCH, TOKENS, 6), draw(3, 4)]),
    "long_convolution_step": ("long_convolution_step", lambda: [draw(BATCH, 6), draw(3, 4), draw(BATCH, 3, 6)]),
    "rms_norm": ("rms_norm", lambda: [draw(BATCH, TOKENS, 6), draw(6)]),
    "rms_norm-gated": ("rms_norm", lambda: [draw(*QK), draw(8), draw(*QK)]),
    "rms_norm-of-one": ("rms_norm", lambda: [draw(6), draw(6)]),
    "rotary": ("rotary", lambda: [draw(*QK), 3, 100.0]),
    "short_convolution": ("short_convolution", lambda: [draw(BATCH, TOKENS, 6), draw(6, 4)]),
    "short_convolution-one-weight": ("short_convolution", lambda: [draw(BATCH, TOKENS, 6), draw(6, 4, models=0)]),
    "softmax_attention": ("softmax_attention", lambda: [draw(*QK), draw(*QK), draw(*V)]),
    "swiglu": ("swiglu", lambda: [draw(BATCH, TOKENS, 6)]),
    "delta_rule_step": (
        "delta_rule_step",
        lambda: [*(draw(BATCH, HEADS, n) for n in (8, 8, 5)), draw(BATCH, HEADS), decay(BATCH, HEADS), draw(*STATE)],
    ),
    "gated_scan_step": ("gated_scan_step", lambda: [draw(BATCH, 6), decay(BATCH, 6), draw(BATCH, 6)]),
    "linear_attention_step": (
        "linear_attention_step",
        lambda: [*(draw(BATCH, HEADS, n) for n in (8, 8, 5)), decay(HEADS), draw(*STATE)],
    ),
    "short_convolution_step": ("short_convolution_step", lambda: [draw(BATCH, 6), draw(6, 4), draw(BATCH, 3, 6)]),
    "softmax_attention_step": (
        "softmax_attention_step",
        lambda: [*(draw(BATCH, HEADS, n) for n in (8, 8, 5)), (draw(BATCH, 4, HEADS, 8), draw(BATCH, 4, HEADS, 5))],
    ),
}
OPTIONS = {
    "delta_rule": lambda: {"initial_state": draw(*STATE)},
    "dplr": lambda: {"initial_state": draw(*STATE)},
    "elementwise_attention": lambda: {"window": 7, "decaying": True},
    "gated_scan": lambda: {"initial_state": draw(BATCH, 6)},
    "linear_attention": lambda: {"initial_state": draw(*STATE, models=0)},
    "long_convolution": lambda: {"initial_state": draw(BATCH, 3, 6)},
    "short_convolution": lambda: {"initial_state": draw(BATCH, 3, 6), "bias": draw(6), "activation": True},
    "short_convolution_step": lambda: {"bias": draw(6)},
    "softmax_attention": lambda: {"initial_state": (draw(BATCH, 4, HEADS, 8), draw(BATCH, 4, HEADS, 5)), "window": 7},
}


def cast(x, dtype):
    if isinstance(x, tuple):
        return tuple(cast(each, dtype) for each in x)
    return x.to(dtype) if isinstance(x, torch.Tensor) else x


def leaves(x):
    if isinstance(x, tuple | list):
        return [leaf for each in x for leaf in leaves(each)]
    return [x] if isinstance(x, torch.Tensor) else []


def of_model(x, place, model):
    if isinstance(x, tuple):
        return tuple(of_model(*each, model) for each in zip(x, place, strict=True))
    return x if place is None else x[model]


def places(x):
    """Where vmap finds the models: in front of what was drawn for each of them."""
    if isinstance(x, tuple):
        return tuple(places(each) for each in x)
    return 0 if isinstance(x, torch.Tensor) and x.shape[0] == MODELS else None


def compare(case, options, dtype=torch.float64, **close):
    torch.manual_seed(0)
    name, inputs = CASES[case]
    operator, inputs = getattr(kernels, name), inputs()
    options = options()
    names = list(options)
    everything = cast((*inputs, *options.values()), dtype)
    wanted = [x.requires_grad_() for x in leaves(everything)]

    def run(*values):
        return operator(*values[: len(inputs)], **dict(zip(names, values[len(inputs) :], strict=True)))

    mapped = places(everything)
    with stacked():
        together = leaves(torch.vmap(run, mapped)(*everything))
    apart = [
        leaves(run(*(of_model(x, place, model) for x, place in zip(everything, mapped, strict=True))))
        for model in range(MODELS)
    ]
    apart = [torch.stack(each) for each in zip(*apart, strict=True)]
    weights = [torch.randn(y.shape, dtype=y.dtype) for y in together]
    gradients = [
        torch.autograd.grad(sum((y * w).sum() for y, w in zip(ys, weights, strict=True)), wanted)
        for ys in (together, apart)
    ]
    torch.testing.assert_close(together, apart, **close)
    torch.testing.assert_close(*gradients, **close)


@pytest.mark.parametrize("backend", ["chunked", "reference"])
@pytest.mark.parametrize("case", CASES)
def test_a_stack_of_models(case, backend, monkeypatch):
    monkeypatch.setenv("KERNELS_BACKEND", backend)
    compare(case, dict)
    if case in OPTIONS:
        compare(case, OPTIONS[case])


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.skipif(torch.cuda.is_available(), reason="the inputs are on the CPU, for the interpreter")
@pytest.mark.parametrize(
    "case", ["delta_rule-decayed", "delta_rule-by-key", "gated_scan", "linear_attention-fixed", "softmax_attention",
             "short_convolution", "rms_norm-gated", "rotary", "swiglu", "short_convolution_step", "long_convolution",
             "complex_scan"]
)  # fmt: skip
def test_a_stack_of_models_on_triton(case, monkeypatch):
    monkeypatch.setenv("KERNELS_BACKEND", "triton")
    compare(case, OPTIONS.get(case, dict), torch.float32, rtol=1e-4, atol=1e-4)


def test_outside_a_stack_nothing_changes():
    q, k, v = (torch.randn(2, 5, 2, 4) for _ in range(3))
    o, state = kernels.linear_attention(q, k, v)
    with stacked(), stacked(False):
        again, last = kernels.linear_attention(q, k, v)
    assert torch.equal(o, again) and torch.equal(state, last)


def test_inputs_that_all_models_share():
    x, weight = torch.randn(2, 5, 2, 4), torch.randn(MODELS, 2, 5, 2, 4)
    with stacked():
        found = torch.vmap(lambda w: w * kernels.rotary(x, 0, 100.0))(weight)
    torch.testing.assert_close(found, weight * kernels.rotary(x, 0, 100.0))


def test_a_model_full_of_nan_leaves_the_others_alone():
    """Also where decays are so strong that the chunked form has to take shorter chunks."""
    q, k, v, log_decay = (torch.randn(MODELS, *shape) for shape in (QK, QK, V, QK))
    log_decay = -30 * log_decay.abs()
    expected = kernels.linear_attention(q[0], k[0], v[0], log_decay[0])
    for x in (q, k, v, log_decay):
        x[1] = float("nan")
    with stacked():
        found = torch.vmap(kernels.linear_attention)(q, k, v, log_decay)
    torch.testing.assert_close((found[0][0], found[1][0]), expected)
