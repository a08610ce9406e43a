"""Log decays from 0 to -inf in one sequence: values and all gradients as the naive recurrence in float64 has them."""

import importlib

import pytest
import torch
from torch.nn.functional import normalize

from tests.kernels.test_operators import DEVICE, H, K, V, draw, others

VALUES = torch.tensor([0.0, -1e-3, -5.0, -140.0, -1000.0, -torch.inf], dtype=torch.float64)
OFTEN = {"mixed": [0.3, 0.3, 0.2, 0.07, 0.07, 0.06], "now and then": [0.5, 0.47, 0.0, 0.0, 0.01, 0.02]}
# The interpreter of Triton is slow, so it gets one of them; its chunks are of 64 tokens.
EVERY = [(length, often) for length in (1, 37, 100) for often in OFTEN]
SHAPES = {
    "linear_attention": {"fixed": "H", "scalar": "BTH", "vector": "BTHK"},
    "delta_rule": {"scalar": "BTH", "vector": "BTHK"},
    "gated_scan": {"vector": "BTK"},
}
CASES = [(operator, form, kind) for operator, kinds in SHAPES.items() for form in others(operator) for kind in kinds]


def sample(operator, kind, length, often):
    """Inputs by name, float64; strong decays at both sides of the borders of chunks, and an input that fades."""
    sizes = {"B": 1, "T": length, "H": H, "K": K}
    shape = [sizes[letter] for letter in SHAPES[operator][kind]]
    generator = torch.Generator().manual_seed(length)
    size = int(torch.tensor(shape).prod())
    decay = VALUES[torch.multinomial(torch.tensor(OFTEN[often]), size, True, generator=generator)].view(shape)
    if kind != "fixed":
        decay[:, 15:17], decay[:, -1] = -torch.inf, -1000.0
    if operator == "gated_scan":
        return {"x": draw(1, length, K), "log_decay": decay, "state": draw(1, K)}
    q, k, v = draw(1, length, H, K), normalize(draw(1, length, H, K, seed=1), dim=-1), draw(1, length, H, V)
    beta = {"beta": draw(1, length, H).sigmoid()} if operator == "delta_rule" else {}
    return {"q": q, "k": k, "v": v, **beta, "log_decay": decay, "state": draw(1, H, K, V)}


def outcome(function, inputs, dtype, device="cpu"):
    leaves = [x.to(device, dtype).requires_grad_() for x in inputs.values()]
    outputs = function(*leaves)
    loss = sum((o * draw(*o.shape, seed=3).to(o)).sum() for o in outputs)
    found = [*outputs, *torch.autograd.grad(loss, leaves)]
    names = [*(f"output {i}" for i in range(len(outputs))), *inputs]
    return {name: x.cpu() for name, x in zip(names, found, strict=True)}


def check(found, exact, log_decay, tolerance, of_decay=1e-16):
    """The absolute part of the tolerance is what is nothing beside any input: e^-40 of it."""
    for name, expected in exact.items():
        absolute = of_decay if name == "log_decay" else 1e-16
        error = (found[name].double() - expected).square().mean().sqrt()
        assert error <= tolerance * expected.square().mean().sqrt() + absolute, name  # false for NaN, too
    assert not found["log_decay"][log_decay == -torch.inf].any()


def differences(form, length):
    """In Triton, the gradient of a decay is a sum of differences of what is as large as the inputs."""
    return 1e-6 * length**0.5 if form == "triton" else 1e-16


@pytest.mark.parametrize(
    "operator, form, kind, length, often",
    [
        (*case, length, often)
        for case in CASES
        for length, often in (
            [(33 if case[0] != "delta_rule" and case[2] == "vector" else 69, "mixed")] if case[1] == "triton" else EVERY
        )
    ],
)
def test_sequences(operator, form, kind, length, often):
    forms = importlib.import_module(f"kernels.{operator}").IMPLEMENTATIONS
    more = () if operator == "gated_scan" else (1.0,)
    inputs = sample(operator, kind, length, often)
    exact = outcome(lambda *x: forms["reference"](*x, *more), inputs, torch.float64)
    if form != "triton":
        found = outcome(lambda *x: forms[form](*x, *more), inputs, torch.float64)
        check(found, exact, inputs["log_decay"], 1e-13)
    device = DEVICE if form == "triton" else "cpu"
    found = outcome(lambda *x: forms[form](*x, *more), inputs, torch.float32, device)
    check(found, exact, inputs["log_decay"], 1.5e-6, differences(form, length))


@pytest.mark.parametrize("operator, form, kind", [case for case in CASES if case[2] != "fixed"])
def test_tokens(operator, form, kind):
    steps = importlib.import_module(f"kernels.{operator}").STEPS
    more = () if operator == "gated_scan" else (1.0,)
    inputs = sample(operator, kind, 37, "mixed")
    state = inputs.pop("state")
    for t in (3, 16):
        token = {name: x[:, t] for name, x in inputs.items()} | {"state": state}
        exact = outcome(lambda *x: steps["reference"](*x, *more), token, torch.float64)
        device = DEVICE if form == "triton" else "cpu"
        found = outcome(lambda *x: steps[form](*x, *more), token, torch.float32, device)
        check(found, exact, token["log_decay"], 1.5e-6, differences(form, 1))
        with torch.no_grad():
            inside = [x.to(device, torch.float32) for x in token.values()]
            for value, expected in zip(steps[form](*inside, *more), exact.values(), strict=False):
                torch.testing.assert_close(value.cpu().double(), expected, rtol=2e-6, atol=2e-6)
