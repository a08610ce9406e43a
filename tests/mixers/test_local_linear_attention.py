"""Local linear attention as a mixer against weighted least squares, in float64, and its costs."""

import pytest
import torch
from torch.testing import assert_close

from search_space.parts.base import Cache
from tests.mixers.test_costs import cost
from tests.mixers.test_costs_hybrids import WIDTHS
from tests.mixers.test_definitions import CLOSE, SIZES, B, H, K, T, V, build, heads, projected, turned


@pytest.mark.parametrize("groups", [4, 2])
def test_equation(groups):
    mixer, x = build("lla", {**SIZES, "kv_heads": groups, "steps": 40})
    q, k, v = projected(mixer, x, H * K, groups * K, groups * V)
    q, k = (
        turned(y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight)
        for y, norm in zip((heads(q), heads(k, groups)), mixer.norms, strict=True)
    )
    k, v = (y.repeat_interleave(H // groups, 2) for y in (k, heads(v, groups)))
    ridge = torch.log1p(mixer.ridge.exp())
    outputs = torch.zeros(B, T, H, V).double()
    for t in range(T):
        weights = (torch.einsum("bhk,bshk->bhs", q[:, t], k[:, : t + 1]) / K**0.5).softmax(-1).sqrt()
        for h in range(H):
            offsets = k[:, : t + 1, h] - q[:, t, None, h]
            rows = weights[:, h, :, None] * torch.cat([torch.ones_like(offsets[..., :1]), offsets], -1)
            penalty = ridge[h].sqrt() * torch.eye(K + 1).double()[1:].expand(B, -1, -1)
            right = torch.cat([weights[:, h, :, None] * v[:, : t + 1, h], torch.zeros(B, K, V).double()], 1)
            outputs[:, t, h] = torch.linalg.lstsq(torch.cat([rows, penalty], 1), right).solution[:, 0]
    assert_close(mixer(x)[0], outputs.flatten(-2) @ mixer.output.weight.T, **CLOSE)


@WIDTHS
def test_costs(d):
    found = cost("lla", d)
    assert found.product_flops == 2 * 4 * d**2
    assert found.parameters == 4 * d**2 + 2 * 64 + d // 64
    assert found.caches == (Cache(elements=2 * d, flops=4.0 * d + 4.0 * d + 30 * 4.0 * d, heads=d // 64),)
    assert found.decode_flops == found.prefill_flops == 30 * 12 * d
