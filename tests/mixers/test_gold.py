"""GOLD against its equations, token by token in float64, in models, and its costs."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from search_space.cost.cost import cost as layout_cost
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.layout import Layout
from search_space.parts.base import Below, Cache, Dims
from search_space.parts.build import build_mixer
from search_space.parts.part import Part
from search_space.testing import Tower
from tests.mixers.test_below import assert_same_gradients, model
from tests.mixers.test_costs import cost
from tests.mixers.test_costs_hybrids import WIDTHS
from tests.mixers.test_definitions import B, D, T


def build(name, layer, **options):
    torch.manual_seed(layer)
    mixer = build_mixer(Part(name, options), Dims(width=D, heads=4, layer=layer, layers=3)).double()
    for parameter in mixer.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return mixer


def normal(x, norm=None):
    """Root mean square to 1, or a layer norm."""
    if norm is None:
        return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    variance = x.var(-1, unbiased=False, keepdim=True)
    y = (x - x.mean(-1, keepdim=True)) / (variance + 1e-5).sqrt() * norm.weight
    return y if norm.bias is None else y + norm.bias


def low_rank(part, x):
    y = torch.tanh(x @ part.first.weight.T) @ part.second.weight.T
    return y if part.second.bias is None else y + part.second.bias


def attention(layer, x, keys, embeddings):
    """One layer for x [B, T, D], lists of shared keys and embeddings [B, D], one token and one head at a time."""
    zeros, k, v, outputs = torch.zeros(B, D).double(), [], [], []
    for t in range(T):
        e, before = embeddings[t], embeddings[t - 1] if t else zeros
        shifted = e + (before - e) * layer.cache_shift
        mixed = keys[t] + ((keys[t - 1] if t else zeros) - keys[t]) * low_rank(layer.key_mix, shifted)
        k.append(normal(mixed + low_rank(layer.key_expansion, mixed), layer.key_norm))
        mixed = e + (before - e) * low_rank(layer.value_mix, shifted)
        v.append(normal(mixed + low_rank(layer.value_expansion, mixed), layer.value_norm))
        delta = (x[:, t - 1] if t else zeros) - x[:, t]
        q = x[:, t] + delta * low_rank(layer.query_mix, x[:, t] + delta * layer.query_shift)
        q, found = normal(q @ layer.query.weight.T, layer.query_norm), []
        for head in torch.arange(D).chunk(layer.heads):
            scores = torch.stack([(q[:, head] * each[:, head]).sum(-1) for each in k], -1) / len(head) ** 0.5
            weights = scores.softmax(-1)
            found.append(sum(weights[:, s, None] * v[s][:, head] for s in range(t + 1)))
        outputs.append(normal(torch.cat(found, -1), layer.norm) @ layer.output.weight.T)
    return torch.stack(outputs, 1)


@pytest.mark.parametrize("options", [{}, {"heads": 2, "shift_rank": 3, "expansion_rank": 5}], ids=str)
def test_equation(options):
    layers = [build("gold", 0, rank=3, **options), *(build("shared_gold", i, **options) for i in (1, 2))]
    torch.manual_seed(5)
    x = torch.randn(B, T, D, dtype=torch.float64, requires_grad=True)
    owner, keys, embeddings = layers[0], [], []
    for token in x.unbind(1):
        e, latent = normal(token, owner.embedding_norm), token @ owner.compression.weight.T
        keys.append(normal(torch.cat([e, latent], -1) @ owner.decompression.weight.T))
        embeddings.append(normal(e))
    above = x
    for layer in layers:
        y = attention(layer, above, keys, embeddings)
        above = above + y
    leaves = [x] + [parameter for layer in layers for parameter in layer.parameters()]
    assert_same_gradients(Tower(layers)(x)[0], y, *leaves)


def test_initial_values():
    first, last = (build_mixer(Part("gold"), Dims(width=D, heads=4, layer=i, layers=3)) for i in (0, 2))
    ramp = torch.arange(D) / D
    assert_close(first.query_shift, 1 - ramp)
    assert_close(first.query_mix.second.bias, 1 - ramp**0.5)
    assert_close(first.value_mix.second.bias, first.key_mix.second.bias)
    assert_close(last.key_mix.second.bias, 1 - ramp ** (1 / 3))
    assert_close(last.value_mix.second.bias, 0.7 - ramp ** (1 / 3))
    assert_close(first.norm.weight, torch.full((D,), 3**-0.7))
    assert (last.norm.weight == 1).all() and first.key_expansion.second.weight.abs().max() <= 0.01


def test_tokens_are_kept_in_the_place_of_embeddings():
    built, tokens = model("gla gold shared_gold"), torch.randint(40, (B, T))
    _, states = built.prefill(tokens)
    kept, shared = states[1]["mixer"], states[2]["mixer"]
    assert torch.equal(kept["tokens"], tokens) and set(shared) == {"last"}
    assert kept["latents"].shape == (B, T, 1)


@pytest.mark.parametrize(
    ("layout", "of"),
    [
        ("gla shared_gold gold", "gold"),
        ("attention(heads=1, key_size=24, value_size=24, rope_theta=null) shared_gold", "gold"),
        ("gold shared_attention(heads=1, key_size=24, value_size=24, rope_theta=null)", "softmax attention"),
    ],
)
def test_each_reads_its_own_kind(layout, of):
    with pytest.raises(InputError, match=rf"layers\[1\].*a layer of {of} below it, with heads=1, kv_heads=1"):
        model(layout)


def test_without_tokens_the_message_says_so():
    x = torch.randn(B, T, D, dtype=torch.float64)
    for below in (None, Below(x)):
        with pytest.raises(ValueError, match="tokens and their embeddings, in a Below"):
            build("gold", 0)(x, None, below)


@WIDTHS
def test_costs(d):
    rank = max(64, d // 16)
    made = 2 * (2 * 32 * d) + 2 * (2 * rank * d)
    projections, norms = 2 * d * d + 2 * 32 * d + made, 7 * d
    first, shared = cost("gold", d), cost("shared_gold", d)
    both = d * d // 16, (d + d // 16) * d
    assert shared.product_flops == 2 * projections
    assert first.product_flops == 2 * (projections + sum(both))
    assert shared.parameters == projections + norms + 3 * d + 2 * d
    assert first.parameters == shared.parameters + sum(both) + 2 * d
    assert shared.caches == (Cache(elements=2 * d, flops=4 * d + 2 * made, prefill_flops=4 * d, owned=False, heads=1),)
    kept, table = first.caches
    assert kept == Cache(elements=d // 16 + 1, flops=4 * d + 2 * (made + both[1]), prefill_flops=4 * d, heads=1)
    assert table == Cache(elements=d, flops=0.0, owned=False, heads=1)
    assert (first.conv_elements, shared.conv_elements, first.state_elements) == (d, d, 0)
    assert first.prompt_flops(9) == 9 * first.product_flops + 45 * 4 * d


def test_all_layers_together_keep_a_sixteenth_of_the_width():
    target = Target(layers=6)
    found = layout_cost(Layout.parse("gla*2 gold shared_gold*3"), target)
    assert found.kv_bytes == target.context * (target.width // 16 + 1) * target.cache_element_bytes
    plain = layout_cost(Layout.parse("gla*2 attention*4"), replace(target, kv_heads=None))
    assert plain.kv_bytes > 120 * found.kv_bytes
