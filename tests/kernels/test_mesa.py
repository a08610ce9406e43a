"""The solver of the Mesa layer against exact solutions in float64, and against fla's."""

import pytest
import torch
from torch.nn.functional import normalize
from torch.testing import assert_close

from kernels import mesa, mesa_step
from tests.kernels.test_operators import STRENGTHS, B, H, K, V, compare, draw, log_decay
from tests.kernels.test_second_oracle import naive

STEPS = 2 * K
"""As many as make it solve at once; one less is exact, too."""


def draws(length, strength=0.3):
    k = normalize(draw(B, length, H, K, seed=1), dim=-1)
    return {
        "q": normalize(draw(B, length, H, K), dim=-1), "k": k, "v": draw(B, length, H, V),
        "beta": draw(B, length, H).sigmoid(), "log_decay": log_decay("scalar", strength, length),
        "ridge": 0.25 + draw(B, H, K).abs(),
    }  # fmt: skip


def state(length=9):
    """One that tokens can have left."""
    return mesa(*draws(length, 0.01).values(), STEPS)[1]


@pytest.mark.parametrize("steps", [STEPS - 1, STEPS], ids=["in-steps", "at-once"])
@pytest.mark.parametrize("length", [1, 2, 33, 64])
@pytest.mark.parametrize("strength", STRENGTHS.values(), ids=STRENGTHS)
def test_values_and_gradients(strength, length, steps, monkeypatch):
    inputs = {**draws(length, strength), "state": state()}

    def run(x):
        *tensors, before = x.values()
        # Only the symmetric part of a system is one.
        before = torch.cat([(before[..., :K] + before[..., :K].mT) / 2, before[..., K:]], -1)
        return mesa(*tensors, steps, initial_state=before)

    compare(run, inputs, "chunked", monkeypatch)


def test_repeated_keys_are_solved(monkeypatch):
    inputs = draws(33, 1e-3)
    inputs["k"] = inputs["k"][:, :1].expand(-1, 33, -1, -1).contiguous()
    compare(lambda x: mesa(*x.values(), STEPS), inputs, "chunked", monkeypatch)


def test_it_is_what_least_squares_finds():
    q, k, v, beta, decay, ridge = draws(12).values()
    o, _ = mesa(q, k, v, beta, decay, ridge, STEPS)
    for t in (0, 5, 11):
        fading = torch.stack([decay[:, s + 1 : t + 1].sum(1) for s in range(t + 1)], 1).exp()
        root = (beta[:, : t + 1] * fading).sqrt()[..., None]
        rows = torch.cat([(root * k[:, : t + 1]).transpose(1, 2), ridge.sqrt().diag_embed()], 2)
        values = torch.cat([(root * v[:, : t + 1]).transpose(1, 2), v.new_zeros(B, H, K, V)], 2)
        found = torch.linalg.lstsq(rows, values).solution
        assert_close(o[:, t], torch.einsum("bhk,bhkv->bhv", q[:, t], found))


def test_against_fla():
    inputs = draws(32)
    inputs = {name: x.float() for name, x in inputs.items()}
    inputs["v"] = draw(B, 32, H, K, seed=2).float()
    inputs["ridge"] = inputs["ridge"][:1]
    module, named = naive("mesa_net"), {"g": "log_decay", "lamb": "ridge"}
    given = {name: inputs[named.get(name, name)] for name in ("q", "k", "v", "g", "beta", "lamb")}
    given["lamb"] = given["lamb"][0]
    o, system, read = module.naive_mesa_net_exact(**given)
    inputs["ridge"] = inputs["ridge"].expand(B, -1, -1)
    found, last = mesa(*inputs.values(), STEPS)
    assert_close((found, last), (o, torch.cat([system, read], -1)), rtol=1e-4, atol=1e-5)
    few, _, _ = module.naive_mesa_net_CG(**given, chunk_size=16, max_CG_iteration=3)
    assert_close(mesa(*inputs.values(), 3)[0], few, rtol=1e-3, atol=1e-4)  # 1e-5 is added to divisors there


@pytest.mark.parametrize("cut", [1, 15, 16, 17])
def test_in_parts_and_token_by_token(cut):
    *inputs, ridge = draws(21).values()
    whole, last = mesa(*inputs, ridge, STEPS)
    first, between = mesa(*(x[:, :cut] for x in inputs), ridge, STEPS)
    second, end = mesa(*(x[:, cut:] for x in inputs), ridge, STEPS, initial_state=between)
    assert_close((torch.cat([first, second], 1), end), (whole, last))
    for t in range(cut, 21):
        o, between = mesa_step(*(x[:, t] for x in inputs), ridge, STEPS, between)
        assert_close(o, whole[:, t])
    assert_close(between, last)


@pytest.mark.parametrize("place", [1, 15, 16, 17])
def test_a_later_token_changes_nothing(place):
    *inputs, ridge = draws(20).values()
    changed = [torch.cat([x[:, :place], x[:, place:].flip(1)], 1) for x in inputs]
    found, expected = (mesa(*x, ridge, STEPS)[0][:, :place] for x in (changed, inputs))
    assert_close(found, expected, rtol=0, atol=1e-12)
