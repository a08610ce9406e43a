"""CHELA against its equations, token by token in float64, and its costs."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from search_space.parts.matrix_state import CHUNK
from tests.mixers.test_costs import cost
from tests.mixers.test_costs_hybrids import WIDTHS
from tests.mixers.test_definitions import CLOSE, SIZES, B, H, K, T, V, build, convolved, heads
from tests.mixers.test_megalodon import N, averaged


def expected(mixer, x):
    u = averaged(F.silu(convolved(mixer, x) if mixer.conv.width else x), mixer.average)
    z, gate = (u @ mixer.input.weight.T + mixer.input.bias).split([H * K, H * V], -1)
    z = F.silu(z)
    gains, biases = mixer.key_gains.chunk(2), mixer.key_biases.chunk(2)
    q, k = (heads(z * (1 + gains[i]) + biases[i]) for i in range(2))
    v = heads(F.silu(x @ mixer.value.weight.T + mixer.value.bias))
    memory, outputs = torch.zeros(B, H, K, V, dtype=x.dtype), []
    for t in range(T):
        memory = memory + k[:, t, :, :, None] * v[:, t, :, None, :]
        o = (q[:, t, :, :, None] * memory).sum(-2) / K**0.5
        o = o / (o.square().mean(-1, keepdim=True) + 1e-5).sqrt() * mixer.norm.weight
        outputs.append(o.flatten(-2))
    return (torch.stack(outputs, 1) * F.silu(gate)) @ mixer.output.weight.T


@pytest.mark.parametrize("conv", [0, 3, 4])
def test_equation(conv):
    mixer, x = build("chela", {**SIZES, "modes": N, "conv": conv})
    x.requires_grad_()
    y, reference = mixer(x)[0], expected(mixer, x)
    assert_close(y, reference, **CLOSE)
    leaves = [x, *mixer.parameters()]
    weights = torch.randn_like(y)
    found, wanted = (torch.autograd.grad((each * weights).sum(), leaves) for each in (y, reference))
    assert_close(found, wanted, **CLOSE)
    assert all(each.any() for each in found)


@WIDTHS
def test_costs(d):
    found = cost("chela", d)
    products = d * (d // 4 + 2 * d) + 2 * d * d + 2 * d * d
    assert found.product_flops == 2 * products
    biases, affine, norm = 4 * d + d // 4, 4 * (d // 4), 2 * d // (d // 512)
    assert found.parameters == products + biases + affine + norm + 4 * d + (4 * 16 + 2) * d
    assert found.state_elements == 256 * d + 2 * 16 * d  # Gated DeltaNet's, and that of the long convolution
    assert found.conv_elements == 3 * d
    assert found.decode_flops == 4 * 256 * d + (12 * 16 + 2) * d
    assert found.prefill_flops == 4 * 256 * d + CHUNK * (d // 4 + 2 * d) + (2 * CHUNK + 8 * 16 + 2) * d
