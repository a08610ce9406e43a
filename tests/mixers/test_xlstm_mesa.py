"""xLSTM and Mesa against their equations, token by token in float64, and costs."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from search_space.parts.base import Dims
from search_space.parts.build import build_mixer
from search_space.parts.matrix_state import CHUNK
from tests.mixers.test_costs import cost
from tests.mixers.test_costs_hybrids import WIDTHS
from tests.mixers.test_definitions import CLOSE, SIZES, B, H, K, T, V, build, convolved, heads, projected


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("conv", [0, 4])
def test_xlstm(conv, large):
    mixer, x = build("xlstm", {**SIZES, "conv": conv})
    if large:  # gates that are wide open or shut
        mixer.gate_bias.data = torch.tensor([12.0, 0, 3, -3, -9, 9, 0, 2]).double()
        mixer.input.weight.data[-2 * H :] *= 300
    qkv, gate, gates = projected(mixer, x, H * (2 * K + V), H * V, 2 * H)
    qkv = F.silu(convolved(mixer, qkv)) if conv else qkv
    q, k, v = (heads(y) for y in qkv.split([H * K, H * K, H * V], -1))
    enter, keep = (15 * torch.tanh((gates + mixer.gate_bias) / 15)).chunk(2, -1)
    memory, total, most = torch.zeros(B, H, K, V).double(), torch.zeros(B, H, K).double(), torch.zeros(B, H).double()
    outputs = []
    for t in range(T):  # as published, with a running maximum
        log_keep = keep[:, t].sigmoid().log()
        new = torch.maximum(log_keep + most, enter[:, t])
        old, now, most = (log_keep + most - new).exp(), (enter[:, t] - new).exp(), new
        memory = old[..., None, None] * memory + now[..., None, None] * k[:, t, :, :, None] * v[:, t, :, None]
        total = old[..., None] * total + now[..., None] * k[:, t]
        query = q[:, t] / K**0.5
        divisor = torch.maximum((total * query).sum(-1).abs(), (-most).exp())
        outputs.append(torch.einsum("bhk,bhkv->bhv", query, memory) / divisor[..., None])
    h = torch.stack(outputs, 1)
    h = (h - h.mean(-1, keepdim=True)) / (h.var(-1, keepdim=True, unbiased=False) + 1e-6).sqrt()
    y = mixer.gain * h.flatten(-2) * torch.sigmoid(gate)
    assert_close(mixer(x)[0], y @ mixer.output.weight.T, **CLOSE)


def test_initial_values_of_xlstm():
    mixer = build_mixer("xlstm", Dims(width=2048, heads=16))
    assert (mixer.heads, mixer.key_size, mixer.value_size) == (4, 256, 512)  # the head sizes of xLSTM 7B
    assert not mixer.input.weight[-8:].any() and mixer.input.weight[:-8].any()
    assert mixer.gate_bias.tolist() == [-10, -10, -10, -10, 3, 4, 5, 6]


@pytest.mark.parametrize("conv", [0, 4])
def test_mesa(conv):
    mixer, x = build("mesa", {**SIZES, "conv": conv})
    qk, v, gates = projected(mixer, x, 2 * H * K, H * V, 2 * H)
    q, k = (heads(y) for y in F.silu(convolved(mixer, qk) if conv else qk).chunk(2, -1))
    q, k = (y / (y.square().sum(-1, keepdim=True) + 1e-6).sqrt() for y in (q, k))
    v = heads(v)
    weight, keep = torch.sigmoid(gates + mixer.gate_bias).chunk(2, -1)
    ridge = 0.25 + torch.log1p(mixer.ridge.exp()).unflatten(0, (H, K)).diag_embed()
    ridge = ridge * torch.eye(K).double()
    system, read, outputs = torch.zeros(B, H, K, K).double(), torch.zeros(B, H, K, V).double(), []
    for t in range(T):
        a, b = keep[:, t, :, None, None], weight[:, t, :, None, None]
        system = a * system + b * k[:, t, :, :, None] * k[:, t, :, None]
        read = a * read + b * k[:, t, :, :, None] * v[:, t, :, None]
        outputs.append(torch.einsum("bhk,bhkv->bhv", torch.linalg.solve(system + ridge, q[:, t]), read))
    o = torch.stack(outputs, 1)
    o = o / (o.square().mean(-1, keepdim=True) + 1e-5).sqrt() * mixer.norm.weight
    assert_close(mixer(x)[0], o.flatten(-2) @ mixer.output.weight.T, **CLOSE)


def test_initial_values_of_mesa():
    mixer = build_mixer("mesa", Dims(width=512, heads=4))
    assert_close(0.25 + F.softplus(mixer.ridge), torch.ones(512))
    assert mixer.gate_bias.abs().max() <= 512**-0.5


@WIDTHS
def test_costs(d):
    found, h = cost("xlstm", d), d // 512
    assert found.product_flops == 2 * (4 * d**2 + 2 * h * d)
    assert found.parameters == 4 * d**2 + 2 * h * d + 2 * h + d
    assert (found.state_elements, found.conv_elements) == (256 * (d + h), 0)
    assert found.decode_flops == 5 * 256 * (d + h)

    found, h = cost("mesa", d), d // 128
    assert found.product_flops == 2 * (4 * d**2 + 2 * h * d)
    assert found.parameters == 4 * d**2 + 2 * h * d + 2 * h + d + 128 + 4 * 2 * d  # gates, ridge, norm, convolution
    assert (found.state_elements, found.conv_elements) == (256 * d, 3 * 2 * d)
    assert found.decode_flops == 3 * 256 * d + 2 * 128 * d + 30 * (2 * 128 + 12) * d
    solver = 30 * (2 * 128 + 2 * CHUNK + 12) * d
    assert found.prefill_flops == 2 * 256 * d + 2 * 128 * d + 2 * CHUNK * d + solver
