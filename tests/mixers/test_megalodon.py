"""Megalodon against its equations, token by token in float64, and its costs."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from search_space.mixers.megalodon import Megalodon, TimestepNorm
from search_space.parts.base import Cache, Dims
from search_space.parts.matrix_state import CHUNK
from tests.mixers.test_costs import cost
from tests.mixers.test_costs_hybrids import WIDTHS
from tests.mixers.test_definitions import CLOSE, B, D, H, K, T, V, build, heads

N = 3


def over_time(x, norm):
    """Each token by mean and variance of its group's channels in all tokens so far."""
    grouped = x.unflatten(-1, (norm.groups, -1))
    tokens = []
    for t in range(T):
        seen = grouped[:, : t + 1].transpose(1, 2).flatten(2)  # [B, groups, (t + 1) channels]
        mean, var = seen.mean(-1, keepdim=True), seen.var(-1, unbiased=False, keepdim=True)
        tokens.append(((grouped[:, t] - mean) / (var + 1e-5).sqrt()).flatten(1))
    return torch.stack(tokens, 1) * norm.weight + norm.bias


def averaged(x, ema):
    a, d = (torch.sigmoid(y).unflatten(0, (D, N)) for y in (ema.rise, ema.damping))
    theta = torch.sigmoid(ema.wave)[:, None] * 2 * math.pi / N * torch.arange(1, N + 1)
    q = torch.polar(1 - a * d, theta)
    g = torch.complex(*ema.read.chunk(2)).unflatten(0, (D, N))
    h, outputs = torch.zeros(B, D, N, dtype=torch.complex128), []
    for t in range(T):
        h = q * h + a * x[:, t, :, None]
        outputs.append((g * h).sum(-1).real / N**0.5 + ema.skip * x[:, t])
    return torch.stack(outputs, 1)


@pytest.mark.parametrize("group", [8, 32])
@pytest.mark.parametrize("chunk", [4, 7, 30])
def test_equation(chunk, group):
    options = {"heads": H, "key_size": K, "value_size": V, "modes": N, "chunk": chunk, "norm_group": group}
    mixer, x = build("megalodon", options)
    u = over_time(x, mixer.time_norm)
    m = averaged(u, mixer.average)
    m = m / (m.square().mean(-1, keepdim=True) + 1e-5).sqrt() * mixer.norm.weight
    z, r = (m @ mixer.input.weight.T + mixer.input.bias).split([H * K, H * V], -1)
    z = heads(z)
    z = z / (z.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    gains, biases = (heads(y, 2 * H) for y in (mixer.key_gains, mixer.key_biases))
    q, k = (z * (1 + gains[i]) / K**0.5 + biases[i] for i in (slice(H), slice(H, None)))
    angle = (torch.arange(T) % chunk).double()[:, None, None] * 10000.0 ** (-torch.arange(K // 2).double() / (K // 2))
    turn = torch.polar(torch.ones_like(angle), angle)  # from the start of the chunk
    q, k = (torch.complex(*y.chunk(2, -1)) * turn for y in (q, k))
    v = F.silu(heads(u @ mixer.value.weight.T + mixer.value.bias))
    outputs = []
    for t in range(T):
        first = t // chunk * chunk
        scores = torch.einsum("bhk,bshk->bhs", q[:, t], k[:, first : t + 1].conj()).real
        outputs.append(torch.einsum("bhs,bshv->bhv", scores.softmax(-1), v[:, first : t + 1]))
    o = torch.stack(outputs, 1).flatten(-2) * F.silu(r)
    assert_close(mixer(x)[0], torch.cat([m, o], -1) @ mixer.output.weight.T + mixer.output.bias, **CLOSE)


def test_initial_values():
    average = Megalodon(Dims(width=512, heads=8)).average.requires_grad_(False)
    assert average.rise.std() == pytest.approx(0.2, rel=0.05) and average.damping.std() == pytest.approx(0.2, rel=0.05)
    waves = torch.sigmoid(average.wave).sort().values
    expected = 512.0 ** (-torch.arange(512, 0, -1) / 512)
    assert_close(waves, expected, rtol=1e-4, atol=1e-6)
    real, imaginary = average.read.chunk(2)
    assert real.std() == pytest.approx(1, rel=0.05) and not imaginary.any()
    assert average.skip.abs().max() <= 1


def test_groups_of_the_norm_divide_the_channels():
    assert [TimestepNorm(width, 32).groups for width in (2048, 64, 48, 33, 8)] == [64, 2, 1, 1, 1]


@WIDTHS
def test_costs(d):
    found = cost("megalodon", d)
    products = d * 2 * d + d * (d // 4 + 2 * d) + (d + 2 * d) * d
    assert found.product_flops == 2 * products
    biases = 2 * d + d // 4 + 2 * d + d
    average, norms, affine = d * 16 * 4 + 2 * d, 2 * d + d, 4 * (d // 4)
    assert found.parameters == products + biases + average + norms + affine
    entries = d // 4 + 2 * d
    assert found.caches == (Cache(elements=entries, flops=2.0 * entries, window=2048, reads=1024, heads=d // 1024),)
    assert found.state_elements == 2 * 16 * d + 2 * d // 32
    assert found.decode_flops == 12 * 16 * d + 12 * d
    assert found.prefill_flops == 2 * CHUNK * d + 8 * 16 * d + 12 * d
