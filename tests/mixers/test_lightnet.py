"""LightNet against its softmax over time, in float64, and its costs."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from tests.mixers.test_costs import cost
from tests.mixers.test_costs_hybrids import WIDTHS
from tests.mixers.test_definitions import CLOSE, SIZES, H, K, T, V, build, convolved, heads, projected


@pytest.mark.parametrize("conv", [0, 4])
def test_equation(conv):
    mixer, x = build("lightnet", {**SIZES, "conv": conv})
    qkv, gate = projected(mixer, x, H * (2 * K + V), V)
    q, k, v = (convolved(mixer, qkv) if conv else qkv).split([H * K, H * K, H * V], -1)
    q, k, v = F.silu(heads(q)), heads(k), heads(v)
    outputs = []
    for t in range(T):
        shares = k[:, : t + 1].exp() / k[:, : t + 1].exp().sum(1, keepdim=True)
        outputs.append(torch.einsum("bhk,bshk,bshv->bhv", q[:, t], shares, v[:, : t + 1]) / K**0.5)
    o = torch.stack(outputs, 1).flatten(-2)
    o = o / (o.square().mean(-1, keepdim=True) + 1e-5).sqrt() * mixer.norm.weight
    assert_close(mixer(x)[0], (o * F.silu(gate @ mixer.gate.weight.T)) @ mixer.output.weight.T, **CLOSE)


@WIDTHS
def test_costs(d):
    found = cost("lightnet", d)
    assert found.product_flops == 2 * (4 * d**2 + 256 * d)
    assert (found.state_elements, found.conv_elements) == (128 * d + d, 0)
    assert found.decode_flops == 5 * 128 * d + 4 * d
