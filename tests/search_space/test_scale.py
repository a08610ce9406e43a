"""The rule of two scales: the proxy is the target, scaled down."""

import pickle
from dataclasses import fields, replace

import pytest
import torch

from nas.config import load
from search_space.cost.target import TARGETS, Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.mixers import MIXERS
from search_space.model import build_model
from search_space.parts.part import Part
from search_space.scale import FOLLOWED, TOLERANCE, Proxy, Scale

PRESETS = ["smoke", "laptop", "overnight", "gpu"]


SMALL = Scale(TARGETS["study_1p3b"], Proxy(), 48)


def scale_of(preset, target=TARGETS["study_1p3b"]):
    proxy = load(preset, ["training.device=cpu"] if preset == "gpu" else [])
    return Scale(target, proxy.proxy, proxy.training.length)


OTHER = {
    "layers": 12, "resize": "stretch", "vocabulary": 99, "tied_embeddings": True, "batch": 3, "device": "l4",
    "cache_element_bytes": 1, "weight_bytes": 1, "devices": 2, "profile": None, "width": 1024, "heads": 16,
    "kv_heads": 8, "mlp_width": 2048, "context": 4096, "options": {"gla": {"heads": 8}},
}  # fmt: skip


@pytest.mark.parametrize("key", [field.name for field in fields(Target)])
def test_proxies_follow_from_these_keys_of_the_target_alone(key):
    layout = Layout.parse("gla sliding_window attention attention(kv_heads=16)")
    proxies = []
    for target in (Target(), replace(Target(), **{key: OTHER[key]})):
        scale = scale_of("laptop", target)
        proxies.append((scale.layout(layout), scale.sizes(50)))
    assert (proxies[0] == proxies[1]) == (key not in FOLLOWED)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("mixer", MIXERS.names())
def test_states_keep_their_ratio_to_the_target(preset, target, mixer):
    scale = scale_of(preset, target)
    found = scale.scaled(Part(mixer))
    wanted = found.target.state_elements * scale.state_factor
    if not wanted:
        assert found.proxy.state_elements == 0 and (found.proxy.caches or found.proxy.conv_elements)
    elif found.floor:
        assert wanted < found.proxy.state_elements == scale.proxy.width
    else:
        assert 1 / TOLERANCE <= found.proxy.state_elements / wanted <= TOLERANCE


@pytest.mark.parametrize("part", [
    "gla(heads=8)", "gla(key_size=64)", "deltanet(heads=4)", "retnet(heads=16)", "retnet(value_size=256)",
    "gated_deltanet(heads=12)", "hgrn2(heads=1)", "hgrn2(key_size=8)", "deltanet(heads=2, key_size=512)",
    "mamba2(n_groups=8)", "mamba2(heads=12, n_groups=3)", "lightning(heads=8)",
    "mamba(channels=2048)", "mamba(key_size=64)",
])  # fmt: skip
@pytest.mark.parametrize("preset", PRESETS)
def test_so_do_those_of_blocks_with_options(preset, part):
    scale = scale_of(preset)
    block = Layout.parse(part).layers[0]
    options = dict(block.mixer.options)
    if "heads" in options and block.mixer.kind != "mamba2" and 2048 % options["heads"]:
        options |= {"key_size": 128, "value_size": 128}
    found = scale.scaled(Part(block.mixer.kind, options))
    wanted = max(scale.proxy.width, found.target.state_elements * scale.state_factor)
    assert 1 / TOLERANCE <= found.proxy.state_elements / wanted <= TOLERANCE


def test_the_shapes_are_the_published_ones_made_smaller():
    scale = SMALL
    assert str(scale.part(Part("gla"))) == "gla(heads=1, key_size=16, value_size=32)"
    assert str(scale.part(Part("retnet"))) == "retnet(heads=2, key_size=16, value_size=32)"
    assert str(scale.part(Part("deltanet"))) == "deltanet(heads=4, key_size=8, value_size=8)"
    assert str(scale.part(Part("gated_deltanet"))) == "gated_deltanet(heads=2, key_size=16, value_size=16)"
    assert str(scale.part(Part("lightning"))) == "lightning(heads=4, key_size=8, value_size=8)"
    assert str(scale.part(Part("mamba2"))) == "mamba2(heads=16, key_size=8, value_size=4)"
    assert str(scale.part(Part("mamba"))) == "mamba(channels=64, key_size=1)"
    assert str(scale.part(Part("kda"))) == "kda(heads=4, key_size=8, value_size=8)"
    assert str(scale.part(Part("rg_lru"))) == "rg_lru(block_size=4, state_size=32)"  # eight blocks, as in the target
    assert str(scale.part(Part("short_conv"))) == "short_conv"
    assert str(scale.part(Part("hgrn"))) == "hgrn(state_size=32)"
    assert str(scale.part(Part("jet_block"))) == "jet_block(heads=3, key_size=8, value_size=16)"
    assert str(scale.part(Part("mla"))) == "mla(heads=2, key_size=16, rank=4, rope_size=8, value_size=16)"
    assert str(scale.part(Part("hyena_se"))) == "hyena_se"
    assert str(scale.part(Part("hyena_mr"))) == "hyena_mr(length=12)"  # a quarter of a sequence
    assert str(scale.part(Part("hyena_mr", {"length": 9}))) == "hyena_mr(length=9)"
    assert str(scale.part(Part("hyena_li"))) == "hyena_li(key_size=1)"


@pytest.mark.parametrize(("window", "tokens"), [(512, 2), (2048, 3), (2730, 4), (2731, 5), (8192, 12), (32768, 48)])
def test_windows_are_in_proportion_to_the_length(window, tokens):
    part = SMALL.part(Part("sliding_window", {"window": window}))
    assert dict(part.options)["window"] == tokens


def test_windows_of_512_and_8192_are_different_proxies():
    scale = SMALL
    one, other = (scale.layout(Layout.parse(f"sliding_window(window={w}) gla")) for w in (512, 8192))
    models = [build_model(layout, scale.sizes(20), seed=0) for layout in (one, other)]
    for model in models:
        torch.nn.init.normal_(model.layers[0].mixer.output.weight, generator=torch.Generator().manual_seed(0))
    tokens = torch.randint(20, (2, 48), generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(models[0](tokens), models[1](tokens))


def test_nothing_is_given_what_the_target_does_not_have():
    scale = SMALL
    for name in MIXERS.names():
        if name != "parallel":
            target, proxy = (scale.scaled(Part(name)).target, scale.scaled(Part(name)).proxy)
            assert bool(target.conv_elements) == bool(proxy.conv_elements)


def test_key_value_heads_follow_the_target():
    scale = Scale(Target(kv_heads=8), Proxy(width=64, heads=8), 48)
    assert scale.sizes(10).kv_heads == 2
    assert dict(scale.part(Part("attention")).options)["kv_heads"] == 2
    assert dict(scale.part(Part("attention", {"kv_heads": 1})).options)["kv_heads"] == 1


def test_channel_mixers_keep_their_ratio():
    scale = Scale(Target(), Proxy(mlp_scale=0.5), 48)
    assert scale.sizes(10).mlp_width == round(0.5 * 2.75 * 32)
    block = scale.block(Block("gla", Part("swiglu", {"ratio": 2})))
    assert dict(block.mlp.options)["ratio"] * 32 == 32
    default, stated = (
        build_model(scale.layout(Layout.parse(t)), scale.sizes(10)) for t in ("gla", "gla/swiglu(ratio=2.75)")
    )
    assert default.layers[0].mlp.hidden == stated.layers[0].mlp.hidden == 44


def test_a_block_states_its_options_over_the_exceptions():
    scale = Scale(Target(), Proxy(options={"sliding_window": {"window": 7}, "gla": {"conv": 4}}), 48)
    assert dict(scale.part(Part("sliding_window")).options)["window"] == 7
    assert dict(scale.part(Part("sliding_window", {"window": 8192})).options)["window"] == 12
    assert dict(scale.part(Part("gla")).options)["conv"] == 4
    assert dict(scale.part(Part("gla", {"conv": 2})).options)["conv"] == 2


def test_options_of_the_target_go_through_the_rule():
    scale = Scale(Target(options={"sliding_window": {"window": 8192}}), Proxy(), 48)
    assert dict(scale.part(Part("sliding_window")).options)["window"] == 12


def test_branches_are_scaled():
    part = SMALL.part(Part("parallel", {"branches": ["hgrn2", {"mixer": "sliding_window", "window": 8192}]}))
    one, other = dict(part.options)["branches"]
    assert dict(one.options)["key_size"] == 8 and dict(other.options)["window"] == 12


@pytest.mark.parametrize(
    ("one", "other", "where"),
    [
        ("gla", "gla(heads=4)", "target"),
        ("gla", "gla(conv=0)", "target"),
        ("gla", "gla/swiglu(ratio=2.75)", "target"),
        ("sliding_window(window=512)", "sliding_window(window=1024)", "proxy"),
        ("gla/swiglu(ratio=2)", "gla/swiglu(ratio=2.01)", "proxy"),
    ],
)
def test_blocks_that_become_the_same_are_refused(one, other, where):
    blocks = {name: Layout.parse(text).layers[0] for name, text in (("a", one), ("b", other))}
    with pytest.raises(InputError, match=f"a, b: expected blocks that differ at the {where}"):
        SMALL.check(blocks)


def test_different_blocks_are_accepted():
    texts = ["gla", "gla/none", "sliding_window(window=512)", "sliding_window(window=8192)", "hgrn", "retnet(heads=4)"]
    SMALL.check({text: Layout.parse(text).layers[0] for text in texts})


@pytest.mark.parametrize(
    ("fields", "key", "hint"),
    [
        ({"width": 0}, "proxy.width", "positive integer"),
        ({"state": 2.5}, "proxy.state", "positive integer"),
        ({"heads": 3}, "proxy.heads", "a divisor of width=32"),
        ({"mlp_scale": 0}, "proxy.mlp_scale", "positive number"),
        ({"mlp_scale": float("nan")}, "proxy.mlp_scale", "number"),
        ({"shift_width": -1}, "proxy.shift_width", "0 or more"),
        ({"shift_from": 0.5}, "proxy.shift_from", "integer"),
        ({"embedding_skip": float("inf")}, "proxy.embedding_skip", "number"),
        ({"options": {"glaa": {}}}, "proxy.options.glaa", "did you mean 'gla'"),
        ({"options": {"gla": {"windo": 1}}}, "proxy.options.gla.windo", "an option of gla"),
        ({"options": {"gla": 3}}, "proxy.options.gla", "a mapping"),
    ],
)
def test_mistakes_name_the_key(fields, key, hint):
    with pytest.raises(InputError) as error:
        Proxy(**fields)
    assert error.value.key == key and hint in error.value.expected


def test_a_scale_travels_to_workers():
    scale = SMALL
    scale.part(Part("gla"))
    copy = pickle.loads(pickle.dumps(scale))
    assert copy == scale and copy.part(Part("gla")) == scale.part(Part("gla"))
    assert copy != replace(scale, length=49)


@pytest.mark.parametrize(
    ("width", "first", "mixers"), [(2, 0, {0, 1, 2}), (2, 1, {1, 2}), (4, 3, set()), (0, 0, set())]
)
def test_the_shift_helps_mixers_from_a_layer_on(width, first, mixers):
    scale = Scale(Target(), Proxy(shift_width=width, shift_from=first), 48)
    model = build_model(scale.layout(Layout.parse("gla attention sliding_window none")), scale.sizes(10))
    assert {i for i, layer in enumerate(model.layers) if layer.shift is not None} == mixers


@pytest.mark.parametrize("text", ["gla hgrn*2 attention/none none", "parallel*2 sliding_window"])
def test_a_model_decodes_what_it_reads_at_once(text):
    scale = SMALL
    model = build_model(scale.layout(Layout.parse(text)), replace(scale.sizes(20), zero_outputs=False), seed=0)
    tokens = torch.randint(20, (2, 9), generator=torch.Generator().manual_seed(0))
    whole = model(tokens)
    logits, states = model.prefill(tokens[:, :4])
    torch.testing.assert_close(logits, whole[:, 3], atol=1e-5, rtol=1e-4)
    for place in range(4, 9):
        logits, states = model.step(tokens[:, place], states)
        torch.testing.assert_close(logits, whole[:, place], atol=1e-5, rtol=1e-4)
    stepped = model.step(tokens[:, 0], model.initial_states(2))[0]
    torch.testing.assert_close(stepped, whole[:, 0], atol=1e-5, rtol=1e-4)
