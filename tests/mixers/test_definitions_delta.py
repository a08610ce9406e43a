"""RWKV-6, RWKV-7 and Gated DeltaNet-2 against their equations, token by token in float64, and costs."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from search_space.parts.base import Dims
from search_space.parts.build import build_mixer
from search_space.parts.matrix_state import CHUNK
from tests.kernels.test_second_oracle import naive
from tests.mixers.test_costs import cost
from tests.mixers.test_costs_hybrids import WIDTHS
from tests.mixers.test_definitions import CLOSE, SIZES, B, H, K, T, V, build, convolved, heads, projected


def linear(module, x):
    return x @ module.weight.T + (0 if module.bias is None else module.bias)


def unit(x):
    return x / (x.square().sum(-1, keepdim=True) + 1e-6).sqrt()


def before(x):
    return torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)


def head_norm(norm, o):
    centred = o - o.mean(-1, keepdim=True)
    o = centred / (centred.square().mean(-1, keepdim=True) + 1e-5 * V).sqrt()
    return o.flatten(-2) * norm.weight + norm.bias


@pytest.mark.parametrize("conv", [0, 4])
def test_gdn2(conv):
    mixer, x = build("gdn2", {**SIZES, "conv": conv})
    qkv, gate, b, w, low = projected(mixer, x, H * (2 * K + V), V, H * K, H * V, V)
    q, k, v = F.silu(convolved(mixer, qkv) if conv else qkv).split([H * K, H * K, H * V], -1)
    q, k, v, b, w = unit(heads(q)), unit(heads(k)), heads(v), torch.sigmoid(heads(b)), torch.sigmoid(heads(w))
    step = torch.log1p((linear(mixer.decay, low) + mixer.step_bias).exp())
    decay = torch.exp(-mixer.log_rate.exp()[:, None] * heads(step))
    state, outputs = torch.zeros(B, H, K, V).double(), []
    for t in range(T):
        state = decay[:, t, ..., None] * state
        old = ((b * k)[:, t, ..., None] * state).sum(-2)
        state = state + k[:, t, ..., None] * ((w * v)[:, t] - old)[..., None, :]
        outputs.append((q[:, t, ..., None] * state).sum(-2) / K**0.5)
    o = torch.stack(outputs, 1)
    o = o / (o.square().mean(-1, keepdim=True) + 1e-5).sqrt() * mixer.norm.weight
    o = o.flatten(-2) * torch.sigmoid(linear(mixer.gate, gate))
    assert_close(mixer(x)[0], o @ mixer.output.weight.T, **CLOSE)


def test_gdn2_against_fla():
    """The inputs of the operator as the mixer makes them, in the form in which fla takes them."""
    mixer, x = build("gdn2", {**SIZES, "conv": 0})
    features, _, extra = mixer.input(x).split(mixer.sizes, -1)
    qk, v = mixer._heads(F.silu(features))
    q, k, _, read, _, log_decay = mixer.recurrence(qk, v, extra, 0)
    erase = -read / (k * log_decay.exp())
    write = torch.sigmoid(heads(extra[..., H * K : H * (K + V)]))
    o, _ = naive("gdn2").naive_recurrent_gdn2(q=q, k=k, v=v, g=log_decay, b=erase, w=write)
    found, _ = mixer.operator(*mixer.recurrence(qk, v, extra, 0))
    assert_close(found.float(), o.float(), rtol=1e-4, atol=1e-5)


def test_rwkv7():
    mixer, x = build("rwkv7", {**SIZES, "decay_rank": 3, "gate_rank": 2}, layer=1, layers=5)
    inputs = [x + mu * (before(x) - x) for mu in mixer.mixes]
    r, k, v = (
        y @ m.weight.T
        for y, m in zip((inputs[0], *inputs[2:4]), (mixer.receptance, mixer.key, mixer.value), strict=True)
    )
    a = torch.sigmoid(linear(mixer.rate.second, linear(mixer.rate.first, inputs[4])))
    decay = linear(mixer.decay.second, torch.tanh(linear(mixer.decay.first, inputs[1])))
    decay = heads(torch.exp(-torch.sigmoid(decay) / torch.e**0.5))
    g = linear(mixer.gate.second, torch.sigmoid(linear(mixer.gate.first, inputs[5])))
    kk, k = unit(heads(k * mixer.removal)), heads(k * (1 + (a - 1) * mixer.replacement))
    r, v, a = heads(r), heads(v), heads(a)
    state, outputs = torch.zeros(B, H, V, K).double(), []  # values are rows, as in the paper
    for t in range(T):
        transition = torch.diag_embed(decay[:, t]) - kk[:, t, ..., None] * (a * kk)[:, t, :, None]
        state = state @ transition + v[:, t, ..., None] * k[:, t, :, None]
        outputs.append((state @ r[:, t, ..., None])[..., 0])
    y = head_norm(mixer.norm, torch.stack(outputs, 1))
    y = y + ((r * k * heads(mixer.bonus)).sum(-1, keepdim=True) * v).flatten(-2)
    assert_close(mixer(x)[0], (y * g) @ mixer.output.weight.T, **CLOSE)


def test_rwkv6():
    mixer, x = build("rwkv6", {**SIZES, "shift_rank": 2, "decay_rank": 3}, layer=1, layers=5)
    delta = before(x) - x
    low = torch.tanh((x + mixer.mix * delta) @ mixer.shift.weight.T).unflatten(-1, (5, 2))
    mixes = [low[..., j, :] @ mixer.shifts.weight[j] + mixer.shifts.bias[j] for j in range(5)]
    w, k, v, r, g = (x + mu * delta for mu in mixes)
    decay = linear(mixer.decay.second, torch.tanh(linear(mixer.decay.first, w)))
    decay = torch.exp(-torch.exp(heads(decay)))
    r, k, v = heads(linear(mixer.receptance, r)), heads(linear(mixer.key, k)), heads(linear(mixer.value, v))
    state, outputs = torch.zeros(B, H, K, V).double(), []
    for t in range(T):
        new = k[:, t, ..., None] * v[:, t, :, None]
        outputs.append((r[:, t, ..., None] * (state + heads(mixer.bonus)[..., None] * new)).sum(-2))
        state = decay[:, t, ..., None] * state + new
    y = head_norm(mixer.norm, torch.stack(outputs, 1)) * F.silu(linear(mixer.gate, g))
    assert_close(mixer(x)[0], y @ mixer.output.weight.T, **CLOSE)
    _, last = mixer(x)
    assert_close(last["memory"], state, **CLOSE)


def test_rwkv6_against_fla():
    package = importlib.util.find_spec("fla")
    if package is None:
        pytest.skip("fla-core is not installed (pip install -e '.[test]')")
    path = Path(next(iter(package.submodule_search_locations))) / "ops" / "rwkv6" / "recurrent_naive.py"
    spec = importlib.util.spec_from_file_location("naive_rwkv6", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    mixer, x = build("rwkv6", SIZES)
    r, k, v, log_decay, _ = mixer.features(x, before(x) - x)
    o, state = module.naive_recurrent_rwkv6(
        *(y.transpose(1, 2) for y in (r, k, v, log_decay)), heads(mixer.bonus), scale=1.0, output_final_state=True
    )
    found, memory = mixer.recur((r, k, v, log_decay), None)
    assert_close(found.float(), head_norm(mixer.norm, o.transpose(1, 2)).float(), rtol=1e-4, atol=1e-5)
    assert_close(memory.float(), state.float(), rtol=1e-4, atol=1e-5)


def test_initial_values_of_rwkv7():
    first, last = (build_mixer("rwkv7", Dims(width=256, heads=2, layer=i, layers=4)) for i in (0, 3))
    ramp = torch.arange(256) / 256
    assert_close(first.mixes[1], 1 - ramp**0.9)
    assert_close(last.mixes[1], 1 - ramp ** (0.9 / 4))
    assert_close(last.norm.weight, torch.ones(256))
    assert first.norm.weight[0].item() == pytest.approx(0.25**0.7)
    place = torch.arange(256) / 255
    zigzag = torch.linspace(-1, 1, 64).repeat(4)
    zigzag = zigzag * zigzag.abs()
    assert_close(first.decay.second.bias, -6 + 6 * place + 0.5 + 2.5 * zigzag)
    assert_close(last.decay.second.bias, -6 + 6 * place**2 + 0.5 + 2.5 * zigzag)
    assert_close(last.removal, 0.71 - 0.1 * (place - 0.5))
    assert (first.replacement == 1.02).all() and (first.bonus == -0.04).all()
    assert first.decay.first.weight.abs().max() <= 1e-4
    assert 0.4 / 16 < first.value.weight.abs().max() <= 0.5 / 16 and first.key.weight.abs().max() <= 0.05 / 16


def test_initial_values_of_rwkv6():
    first, last = (build_mixer("rwkv6", Dims(width=256, heads=2, layer=i, layers=4)) for i in (0, 3))
    ramp, place = torch.arange(256) / 256, torch.arange(256) / 255
    assert_close(first.mix, 1 - ramp)
    assert_close(last.shifts.bias[2], 1 - ramp**0.25 - 0.3)  # of values
    assert_close(last.shifts.bias[3], 1 - ramp**0.125)  # of r
    assert_close(last.decay.second.bias, -6 + 5 * place**2)
    assert_close(first.bonus[:3], torch.tensor([0.0, 0.1, -0.1]))
    assert last.bonus[0].item() == 1 and first.shifts.weight.abs().max() <= 0.01


@WIDTHS
def test_costs(d):
    six, seven, gdn2 = cost("rwkv6", d), cost("rwkv7", d), cost("gdn2", d)
    assert six.product_flops == 2 * (5 * d**2 + (5 * 32 * 2 + 64 * 2) * d)
    ranks = {1024: (64, 160), 2048: (128, 224)}[d]
    assert seven.product_flops == 2 * (4 * d**2 + 2 * d * (2 * ranks[0] + ranks[1]))
    assert gdn2.product_flops == 2 * (6 * d**2 + 4 * 128 * d)
    for each in (six, seven):
        assert (each.state_elements, each.conv_elements) == (64 * d, d)
    assert six.decode_flops == 5 * 64 * d + 5 * d and seven.decode_flops == 9 * 64 * d + 5 * d
    assert six.prefill_flops == (4 * 64 + 2 * CHUNK + 5) * d
    assert (gdn2.state_elements, gdn2.conv_elements, gdn2.decode_flops) == (128 * d, 9 * d, 7 * 128 * d)
