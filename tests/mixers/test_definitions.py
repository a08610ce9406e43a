"""Every mixer against its paper's equations, written out token by token from its parameters in float64.

Shapes: B sequences, T tokens, D model width, H heads, K key size, V value size.
"""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from search_space.parts.base import Dims
from search_space.parts.build import build_mixer
from search_space.parts.part import Part

B, T, D, H, K, V = 2, 19, 32, 4, 6, 5
SIZES = {"heads": H, "key_size": K, "value_size": V}
CLOSE = {"atol": 1e-6, "rtol": 1e-6}


def build(name, options=SIZES, **dims):
    torch.manual_seed(0)
    layers = [build_mixer(Part(name, options), Dims(width=D, heads=H, **dims)) for _ in range(3)]
    type(layers[0]).share(layers)  # what is shared over depth
    mixer = layers[1].double()
    for parameter in mixer.parameters():  # so that norms and biases take part
        parameter.data += 0.1 * torch.randn_like(parameter)
    return mixer, torch.randn(B, T, D, dtype=torch.float64)


def projected(mixer, x, *sizes):
    """Slices of the input projection."""
    return (x @ mixer.input.weight.T).split(sizes, -1)


def convolved(mixer, x):
    """sum_i w_i x_{t - W + 1 + i}, channel by channel."""
    weight, width = mixer.conv.weight, mixer.conv.width
    padded = torch.cat([torch.zeros_like(x[:, : width - 1]), x], 1)
    return sum(weight[:, 0, i] * padded[:, i : i + x.shape[1]] for i in range(width))


def heads(x, count=H):
    return x.unflatten(-1, (count, -1))


def normal(mixer, x):
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * mixer.norm.weight


def forgotten(mixer, x):
    """The forget gate of the second of three layers."""
    shares = mixer.gate.bounds.exp() / mixer.gate.bounds.exp().sum(0)
    return shares[0] + (1 - shares[0]) * torch.sigmoid(x)


def remembered(q, k, v, decay, strength=None):
    """o_t = K^-1/2 S_t^T q_t; without a strength S_t = a_t S_{t-1} + k_t v_t^T, with one the delta rule."""
    state, outputs = torch.zeros(B, H, q.shape[-1], v.shape[-1], dtype=q.dtype), []
    for t in range(T):
        key = k[:, t, :, :, None]
        state = decay[:, t] * state
        if strength is not None:
            written = strength[:, t, :, None, None] * key
            state = state - written * (key * state).sum(-2, keepdim=True)
            key = written
        state = state + key * v[:, t, :, None, :]
        outputs.append((q[:, t, :, :, None] * state).sum(-2) / q.shape[-1] ** 0.5)
    return torch.stack(outputs, 1)


def turned(x, theta=10000.0):
    """Pairs (i, i + K/2) as complex numbers, turned by the angle t theta^(-2i/K)."""
    half = x.shape[-1] // 2
    angle = torch.arange(T).double()[:, None, None] * theta ** (-torch.arange(half).double() / half)
    pairs = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat([pairs.real, pairs.imag], -1)


def attended(q, k, v, window=T):
    """Softmax over the keys of the last `window` tokens; key-value heads serve groups of query heads."""
    k, v = (x.repeat_interleave(q.shape[2] // x.shape[2], 2) for x in (k, v))
    outputs = []
    for t in range(T):
        first = max(0, t + 1 - window)
        scores = torch.einsum("bhk,bshk->bhs", q[:, t], k[:, first : t + 1]) / q.shape[-1] ** 0.5
        outputs.append(torch.einsum("bhs,bshv->bhv", scores.softmax(-1), v[:, first : t + 1]))
    return torch.stack(outputs, 1)


@pytest.mark.parametrize(
    ("name", "kv_heads", "window"),
    [("attention", 4, T), ("attention", 2, T), ("gated_attention", 1, T), ("sliding_window", 2, 5)],
)
def test_attention(name, kv_heads, window):
    options = SIZES if window == T else {**SIZES, "window": window}
    mixer, x = build(name, {**options, "kv_heads": kv_heads})
    q, k, v = projected(mixer, x, H * K, kv_heads * K, kv_heads * V)
    q, k, v = heads(q), heads(k, kv_heads), heads(v, kv_heads)
    o = attended(turned(q), turned(k), v, window)
    if name == "gated_attention":
        o = o * torch.sigmoid(x @ mixer.gate.weight.T)[..., None]
    assert_close(mixer(x)[0], o.flatten(-2) @ mixer.output.weight.T, **CLOSE)


def test_attention_without_positions_with_convolution():
    mixer, x = build("attention", {**SIZES, "rope_theta": None, "conv": 3})
    q, k, v = convolved(mixer, x @ mixer.input.weight.T).split([H * K, H * K, H * V], -1)
    o = attended(heads(q), heads(k), heads(v))
    assert_close(mixer(x)[0], o.flatten(-2) @ mixer.output.weight.T, **CLOSE)


def test_retnet():
    mixer, x = build("retnet")
    q, k, v, gate = projected(mixer, x, H * K, H * K, H * V, H * V)
    decay = 1 - 2.0 ** (-5 - torch.arange(H).double())
    decay = decay[:, None, None].expand(B, T, H, 1, 1)
    o = normal(mixer, remembered(turned(heads(q)), turned(heads(k)), heads(v), decay))
    assert_close(mixer(x)[0], (o.flatten(-2) * F.silu(gate)) @ mixer.output.weight.T, **CLOSE)


@pytest.mark.parametrize("conv", [0, 4])
def test_gla(conv):
    mixer, x = build("gla", {**SIZES, "conv": conv})
    qkv, gate, low = projected(mixer, x, H * (2 * K + V), H * V, 16)
    qkv = F.silu(convolved(mixer, qkv)) if conv else qkv
    q, k, v = qkv.split([H * K, H * K, H * V], -1)
    decay = torch.sigmoid(low @ mixer.decay.weight.T + mixer.decay.bias) ** (1 / 16)
    o = normal(mixer, remembered(heads(q), heads(k), heads(v), heads(decay)[..., None]))
    assert_close(mixer(x)[0], (o.flatten(-2) * F.silu(gate)) @ mixer.output.weight.T, **CLOSE)


@pytest.mark.parametrize("large", [1.0, 30.0])
def test_refined_gate_of_gla(large):
    mixer, x = build("gla", {**SIZES, "gate": "refined"})
    x = large * x
    qkv, gate, low, also = projected(mixer, x, H * (2 * K + V), H * V, 16, 16)
    q, k, v = qkv.split([H * K, H * K, H * V], -1)
    g = torch.sigmoid(low @ mixer.decay.weight.T + mixer.decay.bias)
    r = torch.sigmoid(also @ mixer.refinement.weight.T + mixer.refinement.bias)
    decay = (1 - r) * g**2 + r * (1 - (1 - g) ** 2)
    o = normal(mixer, remembered(heads(q), heads(k), heads(v), heads(decay)[..., None]))
    assert_close(mixer(x)[0], (o.flatten(-2) * F.silu(gate)) @ mixer.output.weight.T, **CLOSE)


@pytest.mark.parametrize("temperature", [1.0, 0.01])
def test_normalised_gla(temperature):
    mixer, x = build("gla", {**SIZES, "normalised": True})
    mixer.decay.weight.data /= temperature  # decays from weak to strong
    q, k, v, gate, low = projected(mixer, x, H * K, H * K, H * V, H * V, 16)

    def features(y, kind):
        y = torch.einsum("...hk,hkf->...hf", heads(y), mixer.map.maps.weight[kind])
        return torch.cat([y.softmax(-1), (-y).softmax(-1)], -1)

    decay = heads(torch.sigmoid(low @ mixer.decay.weight.T + mixer.decay.bias) ** (1 / 16))
    q, k, v, outputs = features(q, 0), features(k, 1), heads(v), []
    for t in range(T):
        fading = torch.stack([decay[:, s + 1 : t + 1].prod(1) for s in range(t + 1)], 1)
        weights = torch.einsum("bhk,bshk,bshk->bhs", q[:, t], k[:, : t + 1], fading)
        outputs.append(torch.einsum("bhs,bshv->bhv", weights / weights.sum(-1, keepdim=True), v[:, : t + 1]))
    o = normal(mixer, torch.stack(outputs, 1)).flatten(-2) * F.silu(gate)
    assert_close(mixer(x)[0], o @ mixer.output.weight.T, **CLOSE)


def test_keys_that_heads_of_gated_deltanet_share():
    shared = 2
    mixer, x = build("gated_deltanet", {**SIZES, "heads_per_key": shared})
    keys = H // shared * K
    qkv, gate, b, a = projected(mixer, x, 2 * keys + H * V, H * V, H, H)
    q, k, v = F.silu(convolved(mixer, qkv)).split([keys, keys, H * V], -1)
    q, k = (heads(y, H // shared)[:, :, [h // shared for h in range(H)]] for y in (q, k))
    q, k = (y / (y.square().sum(-1, keepdim=True) + 1e-6).sqrt() for y in (q, k))
    decay = torch.exp(-mixer.log_rate.exp() * torch.log1p((a + mixer.step_bias).exp()))
    o = normal(mixer, remembered(q, k, heads(v), decay[..., None, None], torch.sigmoid(b))).flatten(-2)
    assert_close(mixer(x)[0], (o * F.silu(gate)) @ mixer.output.weight.T, **CLOSE)


@pytest.mark.parametrize("conv", [0, 4])
def test_hgrn2(conv):
    mixer, x = build("hgrn2", {**SIZES, "conv": conv})
    qfv = x @ mixer.input.weight.T
    qfv = convolved(mixer, qfv) if conv else qfv
    q, f, v = qfv.split([H * K, H * K, H * V], -1)
    f = heads(forgotten(mixer, f))
    o = normal(mixer, remembered(F.silu(heads(q)), 1 - f, heads(v), f[..., None]).flatten(-2))
    assert_close(mixer(x)[0], o @ mixer.output.weight.T, **CLOSE)


@pytest.mark.parametrize("conv", [0, 4])
def test_hgrn(conv):
    mixer, x = build("hgrn", {"state_size": 12, "conv": conv})
    entering, gate = projected(mixer, x, 24, 12)
    entering = convolved(mixer, entering) if conv else entering
    i, f = entering.split([12, 12], -1)
    f = forgotten(mixer, f)
    h, states = torch.zeros(B, 12, dtype=x.dtype), []
    for t in range(T):
        h = f[:, t] * h + (1 - f[:, t]) * F.silu(i[:, t])
        states.append(h)
    o = normal(mixer, torch.stack(states, 1)) * F.silu(gate)
    assert_close(mixer(x)[0], o @ mixer.output.weight.T, **CLOSE)


@pytest.mark.parametrize("conv", [0, 4])
@pytest.mark.parametrize("name", ["deltanet", "gated_deltanet"])
def test_delta_rule(name, conv):
    gated = name == "gated_deltanet"
    mixer, x = build(name, {**SIZES, "conv": conv})
    qkv, gate, b, a = projected(mixer, x, H * (2 * K + V), H * V * gated, H, H * gated)
    q, k, v = F.silu(convolved(mixer, qkv) if conv else qkv).split([H * K, H * K, H * V], -1)
    q, k = (heads(y) / (heads(y).square().sum(-1, keepdim=True) + 1e-6).sqrt() for y in (q, k))
    decay = torch.ones(B, T, H, dtype=x.dtype)
    if gated:
        decay = torch.exp(-mixer.log_rate.exp() * torch.log1p((a + mixer.step_bias).exp()))
    o = normal(mixer, remembered(q, k, heads(v), decay[..., None, None], torch.sigmoid(b))).flatten(-2)
    o = o * F.silu(gate) if gated else o
    assert_close(mixer(x)[0], o @ mixer.output.weight.T, **CLOSE)


def test_initial_decays_of_gated_deltanet():
    mixer = build_mixer(Part("gated_deltanet", {"heads": 64}), Dims(width=64, heads=2))
    rate, step = mixer.log_rate.exp(), F.softplus(mixer.step_bias)
    assert 0 < rate.min() < 4
    assert 12 < rate.max() <= 16
    assert 0.001 <= step.min() < 0.005
    assert 0.02 < step.max() <= 0.1


@pytest.mark.parametrize("name", ["hgrn", "hgrn2"])
def test_lower_bounds_rise_by_a_share_each_layer(name):
    layers = [build_mixer(name, Dims(width=32, heads=2, layer=i, layers=4)) for i in range(4)]
    type(layers[0]).share(layers)
    assert all(layer.gate.bounds is layers[0].gate.bounds for layer in layers)
    wide_open = torch.full((32,), -1e4)
    for i, layer in enumerate(layers):
        complement, log_forget = layer.gate(wide_open)
        assert_close(1 - complement, torch.full((32,), i / 4))
        assert_close(log_forget.exp(), torch.full((32,), i / 4))
