"""SparseK against its projection, query by query in float64, and its costs."""

from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from search_space.parts.base import Cache
from tests.mixers.test_costs import cost
from tests.mixers.test_costs_hybrids import WIDTHS
from tests.mixers.test_definitions import CLOSE, SIZES, B, H, K, T, V, build, heads, projected, turned


def threshold(u, k):
    """tau of sum clip(u - tau, 0, 1) = k: the sum is linear between the places where one of them is 0 or 1."""

    def total(tau):
        return sum(min(max(x - tau, 0.0), 1.0) for x in u)

    places = sorted({*u, *(x - 1 for x in u)})
    for low, high in pairwise(places):
        if total(low) >= k >= total(high) and total(low) > total(high):
            return low + (high - low) * (total(low) - k) / (total(low) - total(high))
    raise AssertionError("no such place")


@pytest.mark.parametrize("spread", [1.0, 10.0])
@pytest.mark.parametrize(("window", "selected"), [(2, 3), (1, 2), (5, 1), (3, 30)])
def test_equation(window, selected, spread):
    groups = 2
    mixer, x = build("sparsek", {**SIZES, "kv_heads": groups, "window": window, "selected": selected})
    mixer.score.weight.data *= spread
    q, k, v = projected(mixer, x, H * K, groups * K, groups * V)
    q, k, v = turned(heads(q)), turned(heads(k, groups)), heads(v, groups)
    u = x @ mixer.score.weight.T + mixer.slope * torch.arange(T).double()[:, None]
    outputs, soft = torch.zeros(B, T, H, V).double(), 0
    for b in range(B):
        for h in range(H):
            g = h // (H // groups)
            for t in range(T):
                left = sorted(range(max(0, t - window + 1)), key=lambda s: -u[b, s, g].item())
                chosen, gates = left[:selected], [1.0] * len(left[:selected])
                if len(left) > selected:
                    tau = threshold([u[b, s, g].item() for s in left[: 2 * selected]], selected)
                    gates = [min(max(u[b, s, g].item() - tau, 0.0), 1.0) for s in chosen]
                    soft += sum(0 < gate < 1 for gate in gates)
                near = list(range(max(0, t - window + 1), t + 1))
                factor = torch.tensor(gates + [1.0] * len(near)).double()[:, None]
                seen = chosen + near
                keys, values = factor * k[b, seen, g], factor * v[b, seen, g]
                outputs[b, t, h] = (keys @ q[b, t, h] / K**0.5).softmax(-1) @ values
    assert soft or selected > T
    assert_close(mixer(x)[0], outputs.flatten(-2) @ mixer.output.weight.T, **CLOSE)


def test_scores_are_learned():
    """The gradient of a score through gates and threshold is that of small changes."""
    mixer, x = build("sparsek", {**SIZES, "window": 2, "selected": 3})
    weight, direction = mixer.score.weight, torch.randn_like(mixer.score.weight)
    (found,) = torch.autograd.grad(mixer(x)[0].square().sum(), weight)
    step, values = 1e-6, []
    for sign in (1, -1):
        weight.data += sign * step * direction
        values.append(mixer(x)[0].square().sum().item())
        weight.data -= sign * step * direction
    assert (found * direction).sum().item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


@WIDTHS
def test_costs(d):
    found, h = cost("sparsek", d, kv_heads=8), d // 64
    assert found.product_flops == 2 * (2 * d**2 + 2 * 8 * 64 * d + 8 * d)
    assert found.parameters == found.product_flops / 2 + 8
    assert found.caches == (Cache(elements=8 * 129, flops=4 * h * 64, window=512 + 1024, reads=1024, heads=8),)
    assert (found.state_elements, found.conv_elements, found.decode_flops) == (0, 0, 0)
