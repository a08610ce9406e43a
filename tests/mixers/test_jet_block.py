"""JetBlock against its equations, its initial values, and its costs at the published sizes."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from search_space.parts.base import Dims
from search_space.parts.build import build_mixer
from tests.mixers.test_costs import cost
from tests.mixers.test_definitions import CLOSE, SIZES, H, K, T, V, build, heads, normal, projected, remembered


@pytest.mark.parametrize("conv", [0, 1, 4])
def test_equation(conv):
    mixer, x = build("jet_block", {**SIZES, "conv": conv})
    hidden = H * V // 8 if conv else 0
    qk, v, gate, low, b, a = projected(mixer, x, 2 * H * K, H * V, H * V, hidden, H, H)
    if conv:
        taps = F.silu(low) @ mixer.conv.taps.weight.T + mixer.conv.taps.bias
        taps = taps.unflatten(-1, (H * V, conv))  # of each token and channel, that of the token itself last
        rows = []
        for t in range(T):
            rows.append(sum(taps[:, t, :, conv - 1 - s] * v[:, t - s] for s in range(min(conv, t + 1))))
        v = torch.stack(rows, 1)
    v = F.silu(v)
    q, k = F.silu(qk).split([H * K, H * K], -1)
    q, k = (heads(y) / (heads(y).square().sum(-1, keepdim=True) + 1e-6).sqrt() for y in (q, k))
    decay = torch.exp(-mixer.log_rate.exp() * torch.log1p((a + mixer.step_bias).exp()))
    o = normal(mixer, remembered(q, k, heads(v), decay[..., None, None], torch.sigmoid(b))).flatten(-2)
    assert_close(mixer(x)[0], (o * F.silu(gate)) @ mixer.output.weight.T, **CLOSE)


def test_initial_values():
    mixer = build_mixer("jet_block", Dims(width=1024, heads=2))
    assert not mixer.conv.taps.weight.any()
    assert mixer.conv.taps.bias.std().item() == pytest.approx(0.02, rel=0.1)
    rate, step = mixer.log_rate.exp(), F.softplus(mixer.step_bias)
    assert rate.min() > 0 and rate.max() <= 16 and step.min() >= 0.001 and step.max() <= 0.1


def test_costs():
    """Jet-Nemotron 2B: width 1536, 12 heads of 96 x 256."""
    d, found = 1536, cost("jet_block", 1536)
    products = 2 * d * 1152 + 3 * d * 3072 + d * 384 + 384 * 12288 + 2 * 12 * d
    assert found.product_flops == 2 * products
    assert found.parameters == products + 12288 + 256 + 2 * 12
    assert (found.state_elements, found.conv_elements) == (192 * d, 3 * 3072)
    assert found.decode_flops == 7 * 192 * d + 8 * 3072
