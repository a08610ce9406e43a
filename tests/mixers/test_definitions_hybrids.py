"""The mixers of released hybrids against their equations, like tests/mixers/test_definitions.py."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from search_space.mixers.rg_lru import bounded_root
from search_space.parts.base import Dims
from search_space.parts.build import build_mixer
from search_space.parts.part import Part
from tests.mixers.test_definitions import CLOSE, SIZES, B, D, H, K, T, V, build, convolved, heads, projected, remembered


def normal(mixer, x, size=None):
    """RMS norm over groups of `size`, with a gain for every element."""
    size = size or x.shape[-1]
    groups = x.unflatten(-1, (-1, size))
    return (groups / (groups.square().mean(-1, keepdim=True) + 1e-5).sqrt()).flatten(-2) * mixer.norm.weight


def softplus(x):
    return torch.log1p(x.exp())


@pytest.mark.parametrize("conv", [0, 4])
@pytest.mark.parametrize("slopes", ["minimax", "tnl"])
def test_lightning(slopes, conv):
    mixer, x = build("lightning", {**SIZES, "slopes": slopes, "conv": conv}, layer=1, layers=5)
    qkv, gate = projected(mixer, x, H * (2 * K + V), H * V)
    q, k, v = F.silu(convolved(mixer, qkv) if conv else qkv).split([H * K, H * K, H * V], -1)
    slope = {
        "minimax": [2 ** (-8 * (h + 1) / H) * (1 - 1 / 4 + 1e-5) for h in range(H)],
        "tnl": [8 * h / H * (1 - 1 / 5) for h in range(H)],
    }[slopes]
    decay = torch.tensor(slope).double().neg().exp()[:, None, None].expand(B, T, H, 1, 1)
    o = K**0.5 * remembered(heads(q), heads(k), heads(v), decay)
    o = normal(mixer, o.flatten(-2)) * torch.sigmoid(gate)
    assert_close(mixer(x)[0], o @ mixer.output.weight.T, atol=2e-6, rtol=2e-6)


def test_lightning_hardly_forgets_in_the_last_layer():
    decays = [build_mixer("lightning", Dims(width=256, heads=2, layer=i, layers=4)).log_decay for i in range(4)]
    assert (torch.stack(decays).diff(dim=0) > 0).all()
    assert (decays[-1] > -1e-5).all() and (decays[-1] < 0).all()
    assert_close(decays[0], -(1 + 1e-5) * torch.tensor([2.0**-4, 2.0**-8]))
    alone = build_mixer("lightning", Dims(width=256, heads=2)).log_decay
    assert_close(alone, decays[0])


@pytest.mark.parametrize("conv", [0, 4])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_mamba2(groups, conv):
    mixer, x = build("mamba2", {**SIZES, "n_groups": groups, "conv": conv})
    cbx, z, dt = projected(mixer, x, 2 * groups * K + H * V, H * V, H)
    cbx = convolved(mixer, cbx) + mixer.conv.bias if conv else cbx
    c, b, u = F.silu(cbx).split([groups * K, groups * K, H * V], -1)
    c, b = (heads(y, groups).repeat_interleave(H // groups, 2) for y in (c, b))
    dt = softplus(dt + mixer.step_bias)
    decay = torch.exp(-mixer.log_rate.exp() * dt)[..., None, None]
    o = K**0.5 * remembered(c, b, dt[..., None] * heads(u), decay) + mixer.skip[:, None] * heads(u)
    o = normal(mixer, o.flatten(-2) * F.silu(z), H * V // groups)
    assert_close(mixer(x)[0], o @ mixer.output.weight.T, **CLOSE)


def test_initial_values_of_mamba2():
    mixer = build_mixer(Part("mamba2", {"heads": 256}), Dims(width=64, heads=2))
    rate, step = mixer.log_rate.exp(), F.softplus(mixer.step_bias)
    assert 1 <= rate.min() < 2 and 15 < rate.max() <= 16
    assert 0.001 <= step.min() < 0.002 and 0.05 < step.max() <= 0.1
    assert (mixer.skip == 1).all()


@pytest.mark.parametrize("width", [3, 7])
def test_short_conv(width):
    mixer, x = build("short_conv", {"conv": width})
    b, c, u = projected(mixer, x, D, D, D)
    assert_close(mixer(x)[0], (c * convolved(mixer, b * u)) @ mixer.output.weight.T, **CLOSE)


@pytest.mark.parametrize("conv", [0, 4])
def test_mamba(conv, monkeypatch):
    monkeypatch.setattr("search_space.mixers.mamba.BLOCK", 8)
    channels, size, rank = 10, 3, 2
    mixer, x = build("mamba", {"channels": channels, "key_size": size, "conv": conv})
    u, z = projected(mixer, x, channels, channels)
    u = F.silu(convolved(mixer, u) + mixer.conv.bias if conv else u)
    low, key, query = (u @ mixer.selection.weight.T).split([rank, size, size], -1)
    dt = softplus(low @ mixer.time_step.weight.T + mixer.step_bias)
    rate = mixer.log_rate.exp().reshape(channels, size)
    h, outputs = torch.zeros(B, channels, size, dtype=x.dtype), []
    for t in range(T):
        decay = torch.exp(-dt[:, t, :, None] * rate)
        h = decay * h + (dt[:, t] * u[:, t])[..., None] * key[:, t, None]
        outputs.append(torch.einsum("bcn,bn->bc", h, query[:, t]) + mixer.skip * u[:, t])
    y = torch.stack(outputs, 1) * F.silu(z)
    assert_close(mixer(x)[0], y @ mixer.output.weight.T, **CLOSE)


def test_initial_values_of_mamba():
    mixer = build_mixer("mamba", Dims(width=128, heads=2))
    assert_close(mixer.log_rate.exp().view(256, 16), torch.arange(1.0, 17).expand(256, 16))
    step = F.softplus(mixer.step_bias)
    assert 0.001 <= step.min() < 0.002 and 0.05 < step.max() <= 0.1
    assert mixer.rank == 8 and 0.3 < mixer.time_step.weight.abs().max() <= 8**-0.5
    assert mixer.log_rate.dim() == 1  # so that it is spared weight decay


@pytest.mark.parametrize(("conv", "bounded"), [(0, False), (4, False), (4, True)])
def test_kda(conv, bounded):
    mixer, x = build("kda", {**SIZES, "conv": conv, "bounded": bounded})
    qkv, gate, b, low = projected(mixer, x, H * (2 * K + V), V, H, V)
    q, k, v = F.silu(convolved(mixer, qkv) if conv else qkv).split([H * K, H * K, H * V], -1)
    q, k = (heads(y) / (heads(y).square().sum(-1, keepdim=True) + 1e-6).sqrt() for y in (q, k))
    step, rate = heads(low @ mixer.decay.weight.T + mixer.step_bias), mixer.log_rate.exp()[:, None]
    decay = torch.exp(-5 * torch.sigmoid(rate * step) if bounded else -rate * softplus(step))[..., None]
    o = remembered(q, k, heads(v), decay, torch.sigmoid(b))
    o = o / (o.square().mean(-1, keepdim=True) + 1e-5).sqrt() * mixer.norm.weight
    o = o.flatten(-2) * torch.sigmoid(gate @ mixer.gate.weight.T)
    assert_close(mixer(x)[0], o @ mixer.output.weight.T, **CLOSE)


def test_initial_decays_of_kda():
    mixer = build_mixer(Part("kda", {"heads": 64, "key_size": 4, "value_size": 4}), Dims(width=64, heads=2))
    rate, step = mixer.log_rate.exp(), F.softplus(mixer.step_bias)
    assert 1 <= rate.min() < 4 and 12 < rate.max() <= 16
    assert 0.001 <= step.min() < 0.002 and 0.05 < step.max() <= 0.1
    assert (build_mixer(Part("kda", {"bounded": True}), Dims(width=64, heads=2)).log_rate == 0).all()


@pytest.mark.parametrize("conv", [0, 4])
@pytest.mark.parametrize(("block", "blocks"), [(12, 1), (6, 2), (5, 3)])
def test_rg_lru(block, blocks, conv):
    mixer, x = build("rg_lru", {"state_size": 12, "block_size": block, "conv": conv})
    u, y = (x @ mixer.input.weight.T + mixer.input.bias).split([12, 12], -1)
    u = convolved(mixer, u) + mixer.conv.bias if conv else u
    assert mixer.gates.weight.shape == (blocks, 12 // blocks, 24 // blocks)
    forget, enter = (torch.zeros(12, 12, dtype=x.dtype) for _ in range(2))
    for n, weight in enumerate(mixer.gates.weight):  # blocks on the diagonal of whole matrices
        at, size = slice(n * 12 // blocks, (n + 1) * 12 // blocks), 12 // blocks
        forget[at, at], enter[at, at] = weight[:, :size], weight[:, size:]
    r, i = (
        torch.sigmoid(u @ matrix + bias.flatten())
        for matrix, bias in zip((forget, enter), mixer.gates.bias.chunk(2, -1), strict=True)
    )
    a = torch.exp(-8 * softplus(mixer.log_rate) * r)
    h, outputs = torch.zeros(B, 12, dtype=x.dtype), []
    for t in range(T):
        h = a[:, t] * h + (torch.sqrt(1 - a[:, t] ** 2) if t else 1) * i[:, t] * u[:, t]
        outputs.append(h)
    gelu = 0.5 * y * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (y + 0.044715 * y**3)))
    expected = (torch.stack(outputs, 1) * gelu) @ mixer.output.weight.T + mixer.output.bias
    assert_close(mixer(x)[0], expected, **CLOSE)


def test_initial_values_of_rg_lru():
    mixer = build_mixer(Part("rg_lru", {"block_size": 64}), Dims(width=512, heads=2, layers=8))
    radius = torch.exp(-F.softplus(mixer.log_rate))
    assert 0.9 <= radius.min() < 0.91 and 0.99 < radius.max() <= 0.999
    assert_close(radius.square().mean(), torch.tensor((0.9**2 + 0.999**2) / 2), atol=0.02, rtol=0)
    variances = {mixer.gates.weight: 1 / 64, mixer.input.weight: 1 / 512, mixer.output.weight: 2 / 8 / 512}
    variances[mixer.conv.weight] = 0.01 / 4
    for weight, variance in variances.items():
        assert weight.var().item() == pytest.approx(variance, rel=0.1)
    assert not any(b.any() for b in (mixer.gates.bias, mixer.input.bias, mixer.output.bias, mixer.conv.bias))


def test_the_root_of_rg_lru_has_a_bounded_slope():
    x = torch.tensor([0.0, 1e-8, 0.25, 1.0], requires_grad=True)
    y = bounded_root(x)
    y.sum().backward()
    assert_close(y, x.sqrt())
    assert_close(x.grad, torch.tensor([1000.0, 1000.0, 1.0, 0.5]))


@pytest.mark.parametrize(("groups", "rank"), [(1, 1), (2, 1), (4, 1), (2, 3)])
def test_mamba3(groups, rank):
    """With a state of complex numbers beside real ones: each pair of elements that turns is one."""
    size, pairs, keys = 8, 2, groups * rank * 8
    options = {"heads": H, "key_size": size, "value_size": V, "n_groups": groups, "mimo_rank": rank}
    mixer, x = build("mamba3", options)
    z, v, q, k, step, rate, share, turn = projected(mixer, x, H * V, H * V, keys, keys, H, H, H, pairs)
    step, share = softplus(step + mixer.step_bias), torch.sigmoid(share)
    decay, v, z = torch.exp(-softplus(rate) * step), heads(v), heads(z)
    biases = mixer.biases.unflatten(0, (2, rank, H, size))
    scales = [s.unflatten(0, (rank, H, V)) for s in mixer.scales] if rank > 1 else torch.ones(3, 1, H, V)
    turning = torch.exp(1j * torch.pi * torch.tanh(turn)[:, :, None] * step[..., None])  # by how much a token turns
    made = []
    for y, norm, bias in zip((q, k), mixer.norms, biases, strict=True):
        y = y.unflatten(-1, (rank, groups, size))
        y = y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight
        y = y.repeat_interleave(H // groups, 3) + bias
        made.append((torch.complex(y[..., 0 : 2 * pairs : 2], y[..., 1 : 2 * pairs : 2]), y[..., 2 * pairs :]))
    (q_turned, q_still), (k_turned, k_still) = made
    turned = torch.zeros(B, H, pairs, V, dtype=torch.complex128)
    still = torch.zeros(B, H, size - 2 * pairs, V, dtype=torch.float64)
    outputs = []
    for t in range(T):
        now, a = share[:, t, :, None, None] * step[:, t, :, None, None], decay[:, t, :, None, None]
        before = (1 - share[:, t, :, None, None]) * step[:, t, :, None, None]
        for s, weight in ((t - 1, before), (t, None)):
            # The token before enters ahead of the decay and the turn, this one after them.
            if weight is None:
                turned, still, weight = a * turning[:, t, ..., None] * turned, a * still, now
            if s >= 0:
                for r in range(rank):
                    value = (v[:, s] * scales[0][r])[:, :, None]
                    turned = turned + weight * k_turned[:, s, r, ..., None].conj() * value
                    still = still + weight * k_still[:, s, r, ..., None] * value
        y = 0
        for r in range(rank):
            o = (q_turned[:, t, r, ..., None] * turned).real.sum(2) + (q_still[:, t, r, ..., None] * still).sum(2)
            o = o + mixer.skip[:, None] * v[:, t] * scales[0][r]
            y = y + o * F.silu(z[:, t] * scales[1][r]) * scales[2][r]
        outputs.append(y)
    y = torch.stack(outputs, 1).flatten(-2)
    assert_close(mixer(x)[0], y @ mixer.output.weight.T, **CLOSE)


def test_initial_values_of_mamba3():
    mixer = build_mixer("mamba3", Dims(width=512, heads=2))
    step = F.softplus(mixer.step_bias)
    assert step.min() >= 0.001 and step.max() <= 0.1
    assert (mixer.biases == 1).all() and (mixer.skip == 1).all() and mixer.pairs == 32 and mixer.scales is None
    several = build_mixer("mamba3_mimo", Dims(width=512, heads=2))
    assert [each.unique().tolist() for each in several.scales] == [[0.25], [1.0], [0.25]]
