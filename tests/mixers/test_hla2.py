"""Second-order linear attention against the product of its matrices, and the paper's states, in float64, and costs."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from search_space.parts.matrix_state import CHUNK
from tests.mixers.test_costs import cost
from tests.mixers.test_costs_hybrids import WIDTHS
from tests.mixers.test_definitions import CLOSE, SIZES, B, H, K, T, V, build, convolved, heads, normal, projected


@pytest.mark.parametrize("conv", [0, 4])
def test_equation(conv):
    mixer, x = build("hla2", {**SIZES, "conv": conv})
    (qkv,) = projected(mixer, x, H * (2 * K + V))
    qkv = F.silu(convolved(mixer, qkv)) if conv else qkv
    q, k, v = (heads(y) for y in qkv.split([H * K, H * K, H * V], -1))
    a = torch.einsum("bthk,bshk->bhts", q, k).tril() / K**0.5
    o = torch.einsum("bhts,bshv->bthv", (a @ a.mT).tril(), v)
    y = normal(mixer, o).flatten(-2) @ mixer.output.weight.T
    assert_close(mixer(x)[0], y, **CLOSE)

    s, c, g = (torch.zeros(B, H, K, n).double() for n in (K, V, V))
    outputs = []
    for t in range(T):  # the paper's masked recurrence
        key, query, value = (x[:, t, :, :, None] for x in (k, q, v))
        g = g + key @ (key.mT @ c)
        s, c = s + key @ key.mT, c + query @ value.mT
        outputs.append((query.mT @ (s @ c - g))[..., 0, :] / K)
    assert_close(torch.stack(outputs, 1), o)


@WIDTHS
def test_costs(d):
    found = cost("hla2", d)
    assert found.product_flops == 2 * 4 * d**2
    assert found.parameters == 4 * d**2 + 128
    assert (found.state_elements, found.conv_elements) == (2 * 128 * d, 0)
    assert found.decode_flops == 4 * 2 * 128 * d
    assert found.prefill_flops == 4 * 2 * 128 * d + CHUNK * 4 * d
