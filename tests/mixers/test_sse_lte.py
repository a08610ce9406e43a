"""Sparse state expansion and learnable token eviction against their equations, in float64, and costs."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from search_space.cost.cost import cost as model_cost
from search_space.cost.target import TARGETS
from search_space.layouts.layout import Layout
from search_space.mixers.lte import LearnableTokenEviction
from search_space.parts.base import Cache, Dims
from tests.mixers.test_costs import cost
from tests.mixers.test_costs_hybrids import WIDTHS
from tests.mixers.test_definitions import CLOSE, SIZES, B, H, K, T, V, build, heads, normal, projected, turned


@pytest.mark.parametrize("sharp", [1.0, 200.0])
def test_sse(sharp):
    n = 3
    mixer, x = build("sse", {**SIZES, "partitions": n})
    mixer.input.weight.data[-n:] *= 5
    for each in mixer.decays:  # also strong ones
        each.bias.data *= sharp
    q, k, v, gate, low_q, low_k, low1, low2, e = projected(mixer, x, H * K, H * K, H * V, V, V, V, 16, 16, n)
    q2, k2 = (heads(y + low @ m.weight.T) for y, low, m in zip((q, k), (low_q, low_k), mixer.more, strict=True))
    q, k, v = heads(q), heads(k), F.silu(heads(v))
    a, a2 = (
        torch.sigmoid(heads(low @ m.weight.T + m.bias)) ** (1 / 16)
        for low, m in zip((low1, low2), mixer.decays, strict=True)
    )
    e, used = e.softmax(-1), set()
    y = torch.zeros(B, T, H, V).double()
    for b in range(B):
        shared, own = torch.zeros(H, K, V).double(), [torch.zeros(H, K, V).double() for _ in range(n)]
        for t in range(T):
            best = max(range(n), key=lambda i, e=e[b, t]: e[i])
            used.add(best)
            shared = a[b, t, :, :, None] * shared + k[b, t].softmax(-1)[..., None] * v[b, t, :, None]
            key, query = e[b, t, best] * k2[b, t].softmax(-1), e[b, t, best] * F.silu(q2[b, t])
            own[best] = a2[b, t, :, :, None] * own[best] + key[..., None] * v[b, t, :, None]
            y[b, t] = torch.einsum("hk,hkv->hv", F.silu(q[b, t]), shared)
            y[b, t] += torch.einsum("hk,hkv->hv", query, own[best])
    assert len(used) > 1
    o = normal(mixer, y / K**0.5) * F.silu(heads(gate @ mixer.gate.weight.T))
    assert_close(mixer(x)[0], o.flatten(-2) @ mixer.output.weight.T, **CLOSE)


def scored(mixer, both, moved):
    """The router with "same" padding, over the whole text at once; scores of what is `moved` places before a token."""
    for layer in mixer.router.layers:
        groups, inputs, outputs = layer.weight.shape
        weight = layer.weight.unflatten(1, (3, inputs // 3)).permute(0, 3, 2, 1).flatten(0, 1)  # [G out, in, 3]
        image = F.conv1d(both.flatten(2).mT, weight, layer.bias.flatten(), padding="same", dilation=2, groups=groups)
        both = F.silu(image.mT).unflatten(-1, (groups, outputs))
    both = F.pad(both, (0, 0, 0, 0, moved, 0))[:, :T]
    last = mixer.router.last
    return torch.sigmoid(torch.einsum("btgn,gno->btg", both, last.weight) + last.bias[:, 0]) - 0.5


@pytest.mark.parametrize(("window", "buffer", "sinks"), [(7, 3, 2), (6, 20, 1), (3, 2, 1), (1, 4, 3), (30, 2, 2)])
def test_lte(window, buffer, sinks):
    groups = 2
    options = {"kv_heads": groups, "window": window, "buffer": buffer, "sinks": sinks}
    mixer, x = build("lte", {**SIZES, **options})
    mixer.router.last.bias.data.fill_(0.05)
    mixer.router.last.weight.data *= 9
    q, k, v = projected(mixer, x, H * K, groups * K, groups * V)
    k, v = heads(k, groups), heads(v, groups)
    kept = scored(mixer, torch.cat([k, v], -1), max(0, 6 - window)) > 0
    assert kept.any() and not kept[:, 6:].all()
    q, k = turned(heads(q)), turned(k)
    outputs = torch.zeros(B, T, H, V).double()
    for b in range(B):
        for h in range(H):
            g = h // (H // groups)
            for t in range(T):
                far = [s for s in range(sinks, t - window + 1) if kept[b, s, g]][-buffer:]
                seen = sorted({*range(min(sinks, t + 1)), *far, *range(max(0, t - window + 1), t + 1)})
                weights = (k[b, seen, g] @ q[b, t, h] / K**0.5).softmax(-1)
                outputs[b, t, h] = weights @ v[b, seen, g]
    assert_close(mixer(x)[0], outputs.flatten(-2) @ mixer.output.weight.T, **CLOSE)


def test_gradient_of_scores():
    """That of a factor on the value."""
    mixer, x = build("lte", {**SIZES, "window": 6, "buffer": 3, "penalty": 0.0})
    scores, values = [], []
    mixer.router.register_forward_hook(lambda module, inputs, found: scores.append(found[0]))
    heads_of = mixer._heads

    def noted(features, position):
        q, k, v = heads_of(features, position)
        values.append(v)
        return q, k, v

    mixer._heads = noted
    found = mixer(x)[0].square().sum()
    by_score = torch.autograd.grad(found, scores[0], retain_graph=True)[0]
    v = values[0]
    # Scores change nothing but values, so what reaches values through the attention alone is the product's other half.
    mixer.router.requires_grad_(False)
    mixer._heads, given = heads_of, v.detach().requires_grad_()
    mixer._heads = lambda features, position: (*heads_of(features, position)[:2], given)
    by_value = torch.autograd.grad(mixer(x.detach())[0].square().sum(), given)[0]
    expected = (by_value * v).sum(-1)[:, : T - 6]
    assert_close(by_score[:, 6:], expected)
    assert not by_score[:, :6].any()


def test_penalty():
    """It lowers the positive scores of heads that keep more than fits, and of no others."""
    mixer, _ = build("lte", {**SIZES, "window": 6, "buffer": 3, "penalty": 0.5})
    scores = torch.tensor([[0.1, -0.2, 0.3, 0.1, 0.2], [0.1, -0.1, 0.2, 0.3, -0.4]]).double().mT[None].requires_grad_()
    mixer._penalised(scores).sum().backward()
    slope = 0.5 / 5
    assert_close(scores.grad - 1, slope * torch.tensor([[1.0, 0, 1, 1, 1], [0.0] * 5]).double().mT[None])


@WIDTHS
def test_costs(d):
    found = cost("sse", d)
    assert found.product_flops == 2 * (4 * d**2 + 3 * 2 * 256 * d + 2 * 2 * 16 * d + 4 * d)
    assert found.parameters == found.product_flops / 2 + 2 * d + 256  # biases of decays, norm
    assert (found.state_elements, found.idle_elements, found.conv_elements) == (5 * 256 * d, 3 * 256 * d, 0)
    assert found.decode_flops == 2 * 5 * 256 * d

    found, heads_of = cost("lte", d, kv_heads=8), d // 64
    router = 128 * 64 + 64 * 32 + 32 * 16
    assert found.product_flops == 2 * (2 * d**2 + 2 * 8 * 64 * d + 8 * (3 * router + 16))
    assert found.caches == (Cache(elements=8 * 129, flops=4 * heads_of * 64, window=769 + 512 + 4, heads=8),)
    assert found.conv_elements == 4 * 8 * (128 + 64 + 32)


def test_a_step_leaves_the_other_partitions_alone():
    target = TARGETS["study_1p3b"]
    few, many = (Layout.parse(f"sse(partitions={n})*24") for n in (4, 8))
    few, many = model_cost(few, target), model_cost(many, target)
    assert many.state_bytes / few.state_bytes == 9 / 5
    rows = 24 * 4 * target.width * target.weight_bytes  # of W_e
    bandwidth = target.hardware.bandwidth
    assert 1e-3 * (many.decode_ms - few.decode_ms) * bandwidth == pytest.approx(rows)


def test_the_default_window_is_the_papers():
    mixer = LearnableTokenEviction(Dims(width=64, heads=4))
    assert (mixer.window, mixer.buffer, mixer.sinks, mixer.ahead) == (769, 512, 4, 6)
