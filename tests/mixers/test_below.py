"""Attention that reads what lies below its layer, against its equations and two layers of plain attention.

Shapes: B sequences, T tokens, D model width, H heads, G key-value heads, K key size, V value size.
"""

import pytest
import torch
from torch.testing import assert_close

from search_space.errors import InputError
from search_space.layouts.layout import Layout
from search_space.model import Sizes, build_model
from search_space.parts.base import Below, Cache, Dims
from search_space.parts.build import build_mixer
from search_space.parts.costs import PartCost
from search_space.parts.part import Part
from search_space.testing import Tower
from tests.mixers.test_costs import cost

B, T, D, H, G, K, V = 2, 11, 24, 4, 2, 6, 5
SIZES = {"heads": H, "kv_heads": G, "key_size": K, "value_size": V}
CLOSE = {"atol": 1e-6, "rtol": 1e-6}  # angles of positions are float32
MODEL = Sizes(width=D, heads=H, kv_heads=G, mlp_width=30, vocabulary=40)


def build(name, **options):
    torch.manual_seed(0)
    mixer = build_mixer(Part(name, {**SIZES, **options}), Dims(width=D, heads=H)).double()
    for parameter in mixer.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return mixer


def inputs(count=1):
    torch.manual_seed(1)
    return [torch.randn(B, T, D, dtype=torch.float64, requires_grad=True) for _ in range(count)]


def normal(x, weight, eps=1e-5):
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def turned(x, theta=10000.0):
    """x [B, T, heads, K], each pair (i, i + K/2) by its own angle, one token and one pair at a time."""
    y = x.clone()
    for t in range(T):
        for i in range(K // 2):
            angle = torch.tensor(t * theta ** (-2 * i / K), dtype=torch.float64)
            a, b = x[:, t, :, i], x[:, t, :, i + K // 2]
            y[:, t, :, i], y[:, t, :, i + K // 2] = (
                a * angle.cos() - b * angle.sin(),
                b * angle.cos() + a * angle.sin(),
            )
    return y


def attended(q, k, v, window=T):
    """Softmax attention, one query head and one token at a time."""
    o = []
    for t in range(T):
        seen, heads = slice(max(0, t + 1 - window), t + 1), []
        for h in range(H):
            g = h // (H // G)
            scores = torch.einsum("bk,bsk->bs", q[:, t, h], k[:, seen, g]) / K**0.5
            heads.append(torch.einsum("bs,bsv->bv", scores.softmax(-1), v[:, seen, g]))
        o.append(torch.cat(heads, -1))
    return torch.stack(o, 1)


def assert_same_gradients(y, expected, *leaves):
    torch.manual_seed(2)
    weights = torch.randn_like(y)
    assert_close(y, expected, **CLOSE)
    ours, theirs = (torch.autograd.grad((each * weights).sum(), leaves, retain_graph=True) for each in (y, expected))
    assert_close(ours, theirs, **CLOSE)
    assert all(each.any() for each in ours)


@pytest.mark.parametrize(("name", "window"), [("attention", T), ("gated_attention", T), ("sliding_window", 4)])
def test_keys_of_embeddings(name, window):
    mixer, (x, embeddings) = build(name, keys_from="embedding", **({"window": 4} if window == 4 else {})), inputs(2)
    q = (x @ mixer.input.weight.T).unflatten(-1, (H, K))
    norm, kv = mixer.embedded
    k, v = (normal(embeddings, norm.weight, norm.eps) @ kv.weight.T).split([G * K, G * V], -1)
    o = attended(turned(q), turned(k.unflatten(-1, (G, K))), v.unflatten(-1, (G, V)), window)
    if name == "gated_attention":
        o = (o.unflatten(-1, (H, V)) * torch.sigmoid(x @ mixer.gate.weight.T)[..., None]).flatten(-2)
    y, _ = mixer(x, None, Below(embeddings))
    assert_same_gradients(y, o @ mixer.output.weight.T, x, embeddings, *mixer.parameters())


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("window", [T, 1, 4])
def test_shared_keys(window, qk_norm):
    """The reader sees the keys that the layer below has made of its own input, not of the reader's."""
    windowed = {} if window == T else {"window": window}
    names = ("attention", "shared_attention") if window == T else ("sliding_window", "shared_window")
    owner, reader = (build(name, qk_norm=qk_norm, **windowed) for name in names)
    (x,) = inputs()
    features = (x @ owner.input.weight.T).split([H * K, G * K, G * V], -1)
    q, k, v = (y.unflatten(-1, (-1, size)) for y, size in zip(features, (K, K, V), strict=True))
    if qk_norm:
        q, k = (normal(y, norm.weight, norm.eps) for norm, y in zip(owner.norms, (q, k), strict=True))
    k = turned(k)
    above = x + attended(turned(q), k, v, window) @ owner.output.weight.T
    q = (above @ reader.query.weight.T).unflatten(-1, (H, K))
    q = normal(q, reader.norm.weight, reader.norm.eps) if qk_norm else q
    expected = attended(turned(q), k, v, window) @ reader.output.weight.T
    y, _ = Tower([owner, reader])(x)
    if window == 1:  # a softmax of one score does not depend on it, so most gradients are zero
        assert_close(y, expected, **CLOSE)
    else:
        assert_same_gradients(y, expected, x, *owner.parameters(), *reader.parameters())


def test_the_nearest_layer_is_read_and_never_one_beside():
    owners = [build("attention") for _ in range(2)]
    owners[1].input.weight.data.neg_()
    beside = {"branches": [{"mixer": "attention", **SIZES}, {"mixer": "shared_attention", **SIZES}], "norm": False}
    layer = build_mixer(Part("parallel", beside), Dims(width=D, heads=H)).double()
    reader, (x,) = layer.branches[1], inputs()
    tower = Tower([*owners, layer])
    assert [owner.lends for owner in owners] == [False, True] and not layer.branches[0].lends
    below = Below(x)
    middle = x + owners[0](x)[0]
    y, _ = owners[1](middle, None, below)
    with pytest.raises(KeyError):
        reader(x, None, below)
    below.rise()
    above = middle + y
    expected = (layer.branches[0](above)[0] + reader(above, None, below)[0]) / 2
    assert_close(tower(x)[0], expected, **CLOSE)


def model(layout):
    torch.manual_seed(0)
    return build_model(Layout.parse(layout), MODEL).double()


LAYOUTS = [
    "attention(keys_from=embedding) gla gated_attention(keys_from=embedding)",
    "attention shared_attention gla shared_attention",
    "sliding_window(window=3) gla/none none/swiglu shared_window(window=3) attention shared_attention",
    "rwkv6 gold gla/none shared_gold*2",
    "gla parallel(branches=[gold(rank=3), mamba]) shared_gold gold shared_gold(heads=2)",
    "parallel(branches=[sliding_window(window=3), mamba]) parallel(branches=[shared_window(window=3), mamba])",
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_model_reads_the_same_token_by_token_and_in_parts(layout):
    built, tokens = model(layout), torch.randint(40, (B, T))
    expected = built(tokens)
    with torch.no_grad():
        for first in (1, 4, 7):
            logits, states = built.prefill(tokens[:, :first])
            assert_close(logits, expected[:, first - 1], **CLOSE)
            again, _ = built.prefill(tokens[:, first:], states)
            assert_close(again, expected[:, -1], **CLOSE)
            for t in range(first, T):
                logits, states = built.step(tokens[:, t], states)
                assert_close(logits, expected[:, t], **CLOSE)
    changed = tokens.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % 40
    assert_close(built(changed)[:, :5], expected[:, :5], **CLOSE)


def test_costs():
    plain, embedded = (cost("attention", 2048, 8, **options) for options in ({}, {"keys_from": "embedding"}))
    shared = cost("shared_attention", 2048, 8)
    assert embedded.parameters == plain.parameters + 2048  # the norm
    assert (embedded.product_flops, embedded.caches) == (plain.product_flops, plain.caches)
    assert shared.parameters == 2 * 2048**2 and shared.product_flops == 2 * shared.parameters
    assert shared.caches == (Cache(elements=2 * 8 * 64, flops=4 * 2048, owned=False, heads=8),)
    for tokens in (0, 1, 1000):
        assert (shared.cache_elements(tokens), shared.cache_bytes(tokens, 2)) == (0, 0)
        assert shared.cache_bytes(tokens, 2, read=True, devices=16) == plain.cache_bytes(tokens, 2, devices=16)
        assert shared.step_flops(tokens) - shared.product_flops == plain.step_flops(tokens) - plain.product_flops
    assert shared.prompt_flops(9) - 9 * shared.product_flops == plain.prompt_flops(9) - 9 * plain.product_flops
    window = cost("shared_window", 2048, 8, window=100)
    assert window.cache_bytes(1000, 2, read=True) == 2 * 100 * 1024
    assert PartCost.total([plain, shared]).cache_bytes(10, 2) == plain.cache_bytes(10, 2)


@pytest.mark.parametrize(
    ("layout", "key"),
    [
        ("shared_attention attention", "layers[0]"),
        ("sliding_window shared_attention", "layers[1]"),
        ("attention(activation=relu) shared_attention", "layers[1]"),
        ("sliding_window(window=8) shared_window(window=9)", "layers[1]"),
        ("attention(kv_heads=4) gla shared_attention(kv_heads=2)", "layers[2]"),
        ("attention(rope_theta=null) shared_attention", "layers[1]"),
        ("lla nsa mla strided_attention shared_attention", "layers[4]"),
        ("parallel(branches=[attention, shared_attention])", "layers[0]"),
    ],
)
def test_a_layer_with_nothing_to_read_is_refused(layout, key):
    with pytest.raises(InputError, match="a layer of softmax attention below it, with heads=4, kv_heads=") as error:
        model(layout)
    assert error.value.key == key and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["lla", "nsa", "lte", "lolcats", "lizard", "strided_attention", "sparsek"])
def test_mixers_on_keys_of_their_own_have_none_of_embeddings(name):
    with pytest.raises(InputError, match=r"mixer.keys_from=embedding: expected layer"):
        build_mixer(Part(name, {"keys_from": "embedding"}), Dims(width=D, heads=H))


def test_unknown_keys_are_refused():
    with pytest.raises(InputError, match=r"keys_from=embeding: expected one of embedding, layer"):
        build_mixer(Part("attention", {"keys_from": "embeding"}), Dims(width=D, heads=H))


@pytest.mark.parametrize("mixer", [build("shared_attention"), build("attention", keys_from="embedding")])
def test_without_anything_below_the_message_says_so(mixer):
    with pytest.raises(ValueError, match="in a Below"):
        mixer(inputs()[0])
