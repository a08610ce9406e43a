"""Rodimus, RAT and strided attention against their equations, token by token in float64, and costs."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from search_space.parts.base import Cache, Dims
from search_space.parts.build import build_mixer
from tests.mixers.test_costs import cost
from tests.mixers.test_costs_hybrids import WIDTHS
from tests.mixers.test_definitions import CLOSE, SIZES, B, H, K, T, V, build, convolved, heads, projected, turned


def softplus(x):
    return torch.log1p(x.exp())


@pytest.mark.parametrize("conv", [0, 4])
def test_rodimus(conv):
    channels, size, rank = 10, 3, 2
    mixer, x = build("rodimus", {"channels": channels, "key_size": size, "rank": rank, "conv": conv})
    u, z = projected(mixer, x, channels, channels)
    c = F.silu(convolved(mixer, u) + mixer.conv.bias if conv else u)
    q, k = (c @ mixer.selection.weight.T).split(size, -1)
    g, tau = (c @ mixer.gates.weight.T + mixer.gates.bias).split(size, -1)
    g, tau = softplus(g), torch.sigmoid(tau)
    k = k / (k.square().sum(-1, keepdim=True) + 1e-6).sqrt() * g**tau
    v = torch.sigmoid(u @ mixer.low.weight.T @ mixer.high.weight.T + mixer.high.bias) * u
    state, outputs = torch.zeros(B, size, channels).double(), []
    for t in range(T):
        state = torch.exp(-g * tau)[:, t, :, None] * state + k[:, t, :, None] * v[:, t, None]
        outputs.append((q[:, t, :, None] * state).sum(1) / size**0.5)
    y = (torch.stack(outputs, 1) + mixer.skip * c) * F.silu(z)
    y = y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt() * mixer.norm.weight
    assert_close(mixer(x)[0], y @ mixer.output.weight.T, **CLOSE)


def read(q, k, v, ends):
    """Softmax over the tokens of `ends` before a token, and itself."""
    outputs = []
    for t in range(T):
        seen = [s for s in ends if s < t] + [t]
        scores = torch.einsum("bhk,bshk->bhs", q[:, t], k[:, seen]) / q.shape[-1] ** 0.5
        outputs.append(torch.einsum("bhs,bshv->bhv", scores.softmax(-1), v[:, seen]))
    return torch.stack(outputs, 1)


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_strided_attention(kv_heads):
    mixer, x = build("strided_attention", {**SIZES, "kv_heads": kv_heads, "stride": 5})
    q, k, v = projected(mixer, x, H * K, kv_heads * K, kv_heads * V)
    q, k, v = turned(heads(q)), turned(heads(k, kv_heads)), heads(v, kv_heads)
    k, v = (y.repeat_interleave(H // kv_heads, 2) for y in (k, v))
    o = read(q, k, v, [4, 9, 14])
    assert_close(mixer(x)[0], o.flatten(-2) @ mixer.output.weight.T, **CLOSE)


@pytest.mark.parametrize("chunk", [4, 5])
def test_rat(chunk):
    mixer, x = build("rat", {"heads": H, "key_size": K, "value_size": K, "chunk": chunk})
    q, k, v, keep, gate = projected(mixer, x, 2 * K, 2 * K, H * K, H * K, H * K)
    q, k = (heads(y, 2)[:, :, [h % 2 for h in range(H)]] for y in (q, k))
    keep, v = torch.sigmoid(heads(keep + mixer.bias)), heads(v)
    keys, values = [], []
    for t in range(T):
        g = keep[:, t]
        key, value = (1 - g) * k[:, t], (1 - g) * v[:, t]
        if t % chunk:
            key, value = key + g * keys[-1], value + g * values[-1]
        keys.append(key)
        values.append(value)
    angle = (torch.arange(T) // chunk).double()[:, None, None] * 10000.0 ** (-torch.arange(K // 2).double() / (K // 2))
    pairs = [torch.complex(y[..., : K // 2], y[..., K // 2 :]) for y in (q, torch.stack(keys, 1))]
    q, k = (y * torch.polar(torch.ones_like(angle), angle) for y in pairs)
    q, k = (torch.cat([y.real, y.imag], -1) for y in (q, k))
    o = read(q, k, torch.stack(values, 1), range(chunk - 1, T, chunk))
    assert_close(mixer(x)[0], (o.flatten(-2) * torch.sigmoid(gate)) @ mixer.output.weight.T, **CLOSE)


@pytest.mark.parametrize(("name", "option", "every"), [("strided_attention", "stride", 4), ("rat", "chunk", 4)])
@pytest.mark.parametrize("place", [3, 4, 5, 8, 9])
def test_a_later_token_changes_nothing_at_the_ends_of_chunks(name, option, every, place):
    mixer, x = build(name, {option: every})
    changed = torch.cat([x[:, :place], x[:, place:].flip(1)], 1)
    assert_close(mixer(changed)[0][:, :place], mixer(x)[0][:, :place], rtol=0, atol=1e-12)


def test_initial_values_of_rat():
    mixer = build_mixer("rat", Dims(width=512, heads=2))
    assert mixer.bias.min() >= 0 and mixer.bias.exp().max() <= 15 and mixer.bias.exp().mean() > 6


@WIDTHS
def test_costs(d):
    rodimus, strided, rat = cost("rodimus", d), cost("strided_attention", d), cost("rat", d)
    rank = max(16, d // 64)
    assert rodimus.product_flops == 2 * (4 * d**2 + 512 * d + 4 * d * rank + 2 * d**2)
    assert (rodimus.state_elements, rodimus.conv_elements) == (128 * d, 6 * d)
    assert rodimus.decode_flops == 5 * 128 * d + 4 * d
    assert strided.product_flops == 2 * 4 * d**2
    assert strided.caches == (Cache(elements=2 * d, flops=4 * d, every=10, heads=d // 64),)
    assert strided.step_flops(10_000) == strided.product_flops + 4 * d * (1000 + 1)
    assert rat.product_flops == 2 * (4 * d**2 + 512 * d)
    assert rat.caches == (Cache(elements=2 * d, flops=4 * d, every=16, heads=d // 128),)
    assert rat.conv_elements == 2 * d


def test_tokens_seen_of_checkpoints():
    for tokens in (1, 9, 10, 11, 57):
        seen = Cache(elements=1, flops=1.0, every=10).attended(tokens)
        assert seen == sum(t // 10 for t in range(1, tokens + 1))
