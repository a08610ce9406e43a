"""Log-linear mixers against sums over the buckets of earlier tokens, in float64, and its costs."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from search_space.parts.costs import Cache
from search_space.parts.matrix_state import CHUNK
from tests.mixers.test_costs import cost
from tests.mixers.test_definitions import CLOSE, SIZES, B, H, K, T, V, build, convolved, heads, normal, projected


def buckets(t):
    """The tokens up to t: itself, then the buckets of powers of two that the number t is made of, small ones near."""
    found, end = {0: [t]}, t
    for bit in range(t.bit_length()):
        if t >> bit & 1:
            found[bit + 1] = list(range(end - 2**bit, end))
            end -= 2**bit
    return found


def test_mamba2():
    levels = 4  # fewer than 19 tokens have: the last weighs two kinds of buckets
    mixer, x = build("log_linear_mamba2", {**SIZES, "levels": levels})
    cbx, z, dt, weights = projected(mixer, x, 2 * K + H * V, H * V, H, H * levels)
    c, b, u = F.silu(convolved(mixer, cbx) + mixer.conv.bias).split([K, K, H * V], -1)
    u, dt = heads(u), torch.log1p((dt + mixer.step_bias).exp())
    log_decay = -mixer.log_rate.exp() * dt
    weights = heads(torch.log1p((mixer.scales * weights).exp()))
    outputs = []
    for t in range(T):
        y = mixer.skip[:, None] * u[:, t]
        for level, tokens in buckets(t).items():
            for s in tokens:
                weight = weights[:, t, :, min(level, levels - 1)] * log_decay[:, s + 1 : t + 1].sum(1).exp() * dt[:, s]
                y = y + (weight * (c[:, t] * b[:, s]).sum(-1, keepdim=True))[..., None] * u[:, s]
        outputs.append(y)
    y = torch.stack(outputs, 1).flatten(-2) * F.silu(z)
    y = y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt() * mixer.norm.weight
    assert_close(mixer(x)[0], y @ mixer.output.weight.T, **CLOSE)


def test_costs_of_mamba2():
    plain, found, d = cost("mamba2", 2048), cost("log_linear_mamba2", 2048), 2048
    h, elements = d // 32, 256 * d
    assert found.product_flops - plain.product_flops == 2 * 15 * h * d
    assert found.parameters - plain.parameters == 15 * h * d + 15 * h
    flops = {"flops": 3.0 * elements, "prefill_flops": 2.0 * elements}
    assert found.caches == (Cache(elements=elements, levels=True, fp32=True, **flops),)
    assert (found.state_elements, found.conv_elements) == (0, plain.conv_elements)
    assert found.cache_elements(16_383) == 14 * elements


def test_gated_deltanet():
    levels = 4
    mixer, x = build("log_linear_gdn", {**SIZES, "levels": levels})
    qkv, z, gates = projected(mixer, x, H * (2 * K + V), H * V, H * (2 + levels))
    strength, dt, weights = gates.split([H, H, H * levels], -1)
    q, k, v = (heads(y) for y in F.silu(convolved(mixer, qkv)).split([H * K, H * K, H * V], -1))
    q, k = (y / (y.square().sum(-1, keepdim=True) + 1e-6).sqrt() for y in (q, k))
    strength = strength.sigmoid()[..., None, None]
    keep = torch.exp(-mixer.log_rate.exp() * torch.log1p((dt + mixer.step_bias).exp()))[..., None, None]
    weights = heads(torch.log1p((mixer.scales * weights).exp()))
    outer = k[..., :, None] * k[..., None, :]
    moves = keep * (torch.eye(K).double() - strength * outer)  # what each token does to all that was written before
    outputs = []
    for t in range(T):
        y = torch.zeros(B, H, V).double()
        for level, tokens in buckets(t).items():
            for s in tokens:
                state = strength[:, s] * k[:, s, :, :, None] * v[:, s, :, None, :]
                for i in range(s + 1, t + 1):
                    state = moves[:, i] @ state
                weight = weights[:, t, :, min(level, levels - 1), None]
                y = y + weight * torch.einsum("bhk,bhkv->bhv", q[:, t], state) / K**0.5
        outputs.append(y)
    y = normal(mixer, torch.stack(outputs, 1)).flatten(-2) * F.silu(z)
    assert_close(mixer(x)[0], y @ mixer.output.weight.T, **CLOSE)


def test_costs_of_gated_deltanet():
    d = 2048
    plain, found = cost("gated_deltanet", d), cost("log_linear_gdn", d)
    h, elements = d // 256, 256 * d
    assert found.product_flops - plain.product_flops == 2 * 15 * h * d
    assert found.parameters - plain.parameters == 15 * h * d + 15 * h
    flops = {"flops": 7.0 * elements, "prefill_flops": 2.0 * elements}
    assert found.caches == (Cache(elements=elements, levels=True, fp32=True, **flops),)
    assert (found.state_elements, found.conv_elements) == (0, plain.conv_elements)
    assert found.decode_flops == 4 * elements
    within = 2 * CHUNK * d + 2 * CHUNK * 3 * d + CHUNK**2 * h / 3
    assert found.prefill_flops == pytest.approx(4 * elements + within)
