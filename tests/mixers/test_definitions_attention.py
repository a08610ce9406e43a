"""Options of attention, and latent attention, against their equations, like tests/mixers/test_definitions.py."""

import pytest
import torch
from torch.testing import assert_close

from search_space.parts.base import Cache, Dims
from search_space.parts.build import build_mixer
from tests.mixers.test_costs import cost
from tests.mixers.test_definitions import CLOSE, SIZES, B, H, K, T, V, attended, build, heads, projected, turned


def normal(norm, x):
    return x / (x.square().mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight


def weighted(q, k, v, weight, window=T):
    """sum_s weight(score, age, head) v_s over the last `window` tokens, one pair of tokens at a time."""
    k, v = (x.repeat_interleave(q.shape[2] // x.shape[2], 2) for x in (k, v))
    outputs = []
    for t in range(T):
        seen = range(max(0, t + 1 - window), t + 1)
        weights = [weight((q[:, t] * k[:, s]).sum(-1) / q.shape[-1] ** 0.5, t - s) for s in seen]
        outputs.append((sum(w[..., None] * v[:, s] for w, s in zip(weights, seen, strict=True)), sum(weights)))
    return tuple(torch.stack(each, 1) for each in zip(*outputs, strict=True))


def separated(mixer, x, kv_heads):
    q, k, v = projected(mixer, x, H * K, kv_heads * K, kv_heads * V)
    return heads(q), heads(k, kv_heads), heads(v, kv_heads)


@pytest.mark.parametrize("name", ["attention", "gated_attention"])
def test_norms_of_queries_and_keys(name):
    mixer, x = build(name, {**SIZES, "kv_heads": 2, "qk_norm": True})
    q, k, v = separated(mixer, x, 2)
    q, k = (turned(normal(norm, y)) for norm, y in zip(mixer.norms, (q, k), strict=True))
    o = attended(q, k, v)
    if name == "gated_attention":
        o = o * torch.sigmoid(x @ mixer.gate.weight.T)[..., None]
    assert_close(mixer(x)[0], o.flatten(-2) @ mixer.output.weight.T, **CLOSE)


def test_a_gate_for_each_element():
    mixer, x = build("gated_attention", {**SIZES, "gate": "element"})
    q, k, v = separated(mixer, x, H)
    o = attended(turned(q), turned(k), v).flatten(-2) * torch.sigmoid(x @ mixer.gate.weight.T)
    assert_close(mixer(x)[0], o @ mixer.output.weight.T, **CLOSE)
    assert cost("gated_attention", 2048, gate="element").product_flops == 2 * 5 * 2048**2


def test_relu():
    mixer, x = build("attention", {**SIZES, "kv_heads": 2, "activation": "relu", "rope_theta": None})
    o, _ = weighted(*separated(mixer, x, 2), lambda score, age: score.clamp(min=0))
    assert_close(mixer(x)[0], normal(mixer.norm, o.flatten(-2)) @ mixer.output.weight.T, **CLOSE)


def test_softplus():
    mixer, x = build("attention", {**SIZES, "kv_heads": 2, "activation": "softplus"})
    q, k, v = separated(mixer, x, 2)
    o, total = weighted(turned(q), turned(k), v, lambda score, age: torch.log1p(score.exp()))
    assert_close(mixer(x)[0], (o / total[..., None]).flatten(-2) @ mixer.output.weight.T, **CLOSE)


def test_sigmoid_with_slopes():
    mixer, x = build("sliding_window", {**SIZES, "window": 6, "activation": "sigmoid"})
    q, k, v = separated(mixer, x, H)
    slopes = torch.tensor([1 / 2, 1 / 4, -1 / 2, -1 / 4]).double()
    o, _ = weighted(turned(q), turned(k), v, lambda score, age: 1 / (1 + (slopes * age - score).exp()), 6)
    assert_close(mixer(x)[0], o.flatten(-2) @ mixer.output.weight.T, **CLOSE)


P, R = 2, 7


@pytest.mark.parametrize("theta", [10000.0, None])
def test_latent_attention(theta):
    mixer, x = build("mla", {**SIZES, "rope_size": P, "rank": R, "rope_theta": theta})
    q, latent, shared = projected(mixer, x, H * (K + P), R, P)
    q, q_turned = heads(q).split([K, P], -1)
    k_turned = shared[:, :, None]
    if theta:
        q_turned, k_turned = turned(q_turned), turned(k_turned)
    k, v = heads(normal(mixer.norm, latent) @ mixer.expansion.weight.T).split([K, V], -1)
    k = torch.cat([k, k_turned.expand(-1, -1, H, -1)], -1)
    o = attended(torch.cat([q, q_turned], -1), k, v)
    assert_close(mixer(x)[0], o.flatten(-2) @ mixer.output.weight.T, **CLOSE)
    state = mixer.initial_state(B)  # a step takes another way to the same numbers
    for t in range(T):
        y, state = mixer.step(x[:, t], state)
        assert_close(y, o[:, t].flatten(-2) @ mixer.output.weight.T, **CLOSE)


def test_costs_of_latent_attention():
    """Kimi Linear 48B: 32 heads of 128 + 64 and 128 at a width of 2304, a latent of 512."""
    found = cost("mla", 2304, heads=32, key_size=128, value_size=128, rope_size=64, rank=512, rope_theta=None)
    products = 2304 * 32 * 192 + 2304 * (512 + 64) + 512 * 32 * 256 + 32 * 128 * 2304
    assert found.parameters == products + 512
    assert found.product_flops == 2 * products
    step, prompt = 2 * 32 * (512 + 64) + 2 * 32 * 512, 2 * 32 * (128 + 64 + 128)
    assert found.caches == (Cache(elements=512 + 64, flops=step, prefill_flops=prompt, heads=1),)
    assert found.step_flops(10) == found.product_flops + 10 * step
    assert found.prompt_flops(10) == 10 * found.product_flops + 55 * prompt


def test_sizes_of_latent_attention_are_those_of_deepseek():
    mixer = build_mixer("mla", Dims(width=512, heads=4))
    assert (mixer.key_size, mixer.rope_size, mixer.value_size, mixer.rank) == (128, 64, 128, 512)
