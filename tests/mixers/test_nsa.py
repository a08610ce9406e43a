"""Native sparse attention against its three looks, token by token in float64, and its costs."""

import pytest
import torch
from torch.testing import assert_close

from search_space.parts.costs import Cache
from tests.mixers.test_costs import cost
from tests.mixers.test_definitions import CLOSE, SIZES, B, H, K, T, V, build, heads, projected, turned

BLOCK, WINDOW = 2, 3


def look(q, keys, values):
    """Softmax of one query [K] over keys [S, K]."""
    return torch.softmax(keys @ q / K**0.5, 0) @ values if len(keys) else torch.zeros(values.shape[-1]).double()


@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("selected", [2, 10])
def test_equation(selected, kv_heads):
    options = {**SIZES, "kv_heads": kv_heads, "block": BLOCK, "selected": selected, "window": WINDOW}
    mixer, x = build("nsa", options)
    q, k, v = projected(mixer, x, H * K, kv_heads * K, kv_heads * V)
    q, k, v = turned(heads(q)), turned(heads(k, kv_heads)), heads(v, kv_heads)
    gates = torch.sigmoid(x @ mixer.gates.weight.T).unflatten(-1, (3, H))
    count, o = max(4, selected // BLOCK), torch.zeros(B, T, H, V).double()
    for b in range(B):
        for t in range(T):
            whole, own = (t + 1) // BLOCK, t // BLOCK
            for g in range(kv_heads):
                keys, values = k[b, :, g], v[b, :, g]
                means = [y[: whole * BLOCK].unflatten(0, (whole, BLOCK)).mean(1) for y in (keys, values)]
                group = range(g * H // kv_heads, (g + 1) * H // kv_heads)
                weight = sum(torch.softmax(means[0] @ q[b, t, h] / K**0.5, 0) for h in group).tolist()
                always = {0, own, max(0, own - 1)}
                others = sorted(set(range(whole)) - always, key=lambda j: -weight[j])
                blocks = sorted(always | set(others[: max(0, count - len(always))]))
                tokens = [s for j in blocks for s in range(j * BLOCK, min(t + 1, (j + 1) * BLOCK))]
                near = slice(max(0, t + 1 - WINDOW), t + 1)
                for h in group:
                    query = q[b, t, h]
                    looks = look(query, *means), look(query, keys[tokens], values[tokens])
                    looks = *looks, look(query, keys[near], values[near])
                    o[b, t, h] = sum(gates[b, t, c, h] * each for c, each in enumerate(looks))
    assert_close(mixer(x)[0], o.flatten(-2) @ mixer.output.weight.T, **CLOSE)


@pytest.mark.parametrize("place", [3, 4, 5, 7, 8, 9])
def test_a_later_token_changes_nothing_at_the_ends_of_blocks(place):
    mixer, x = build("nsa", {"block": 4, "selected": 8, "window": 3})
    changed = torch.cat([x[:, :place], x[:, place:].flip(1)], 1)
    assert_close(mixer(changed)[0][:, :place], mixer(x)[0][:, :place], rtol=0, atol=1e-12)


def test_costs():
    d, h, g = 2048, 32, 2
    found = cost("nsa", d, kv_heads=g)
    assert found.product_flops == 2 * (2 * d**2 * (1 + g / h) + 3 * h * d)
    size, flops = 2 * g * 64, 4 * h * 64
    tokens = Cache(elements=size, flops=flops, reads=1024 + 512, heads=g)
    assert found.caches == (tokens, Cache(elements=size, flops=flops, every=64, heads=g))
    assert found.cache_elements(32768) == size * (32768 + 512)
    assert found.step_flops(32768) == found.product_flops + flops * (512 + 1024 + 512)
