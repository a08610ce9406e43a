"""Layouts with layers that read keys and values of layers below: sizes, prices, depths and spaces."""

import random
from dataclasses import replace

import pytest
import torch

from search_space.cost.cost import cost
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.layout import Layout
from search_space.layouts.published import published_layouts
from search_space.layouts.resize import resize, scaled_counts
from search_space.model import build_model
from search_space.parts.shapes import shapes_only
from search_space.scale import Proxy, Scale
from search_space.space.choices import SpaceConfig
from search_space.space.constraints import Constraints
from search_space.space.space import Space

TARGET = Target(context=4096, kv_heads=4)
HYMBA = next(each.layout for each in published_layouts() if each.name == "Hymba 1.5B")


def kinds(layout):
    """The first branch of each layer, in one letter."""
    letters = {"attention": "A", "sliding_window": "W", "shared_window": "s", "shared_attention": "s", "gla": "g"}
    branches = [dict(block.mixer.options).get("branches", [block.mixer])[0] for block in layout.layers]
    return "".join(letters[branch.kind] for branch in branches)


def space(choices, constraints=None, **fields):
    limits = Constraints(**(constraints or {}))
    return Space(SpaceConfig(choices=choices, constraints=limits, **{"layers": 6, **fields}), TARGET)


def test_hymba_shares_as_released():
    """kv_reuse_group: the second layer of each pair, and the second and third of 16, 17, 18."""
    readers = [i for i, letter in enumerate(kinds(HYMBA)) if letter == "s"]
    assert readers == [2, 4, 6, 8, 10, 12, 14, 17, 18, *range(20, 31, 2)]


def test_what_is_shared_is_kept_once_and_read_by_each():
    n, batch = TARGET.context, 8
    of = replace(TARGET, layers=4, batch=batch)
    alone, shared = (cost(Layout.parse(text), of) for text in ("attention*4", "attention shared_attention*3"))
    assert alone.kv_bytes == 4 * shared.kv_bytes
    assert alone.memory_bytes - shared.memory_bytes == 2 * (alone.parameters - shared.parameters) + batch * (
        alone.kv_bytes - shared.kv_bytes
    )
    products = 2 * (alone.parameters - shared.parameters)
    assert alone.decode_flops - shared.decode_flops == products
    assert alone.prefill_flops - shared.prefill_flops == n * products
    # A step is bound by memory here: it reads fewer weights, and as many keys and values.
    weights = 2 * (alone.parameters - shared.parameters)
    bandwidth = TARGET.rates.bandwidth
    assert alone.decode_ms - shared.decode_ms == pytest.approx(1e3 * weights / bandwidth, rel=1e-6)


@pytest.mark.parametrize("rule", ["auto", "pattern", "stretch"])
@pytest.mark.parametrize("depth", [3, 4, 6, 12, 24, 40, 64])
def test_readers_have_something_to_read_at_any_depth(depth, rule):
    layout = resize(HYMBA, depth, rule)
    assert len(layout.layers) == depth
    assert scaled_counts(HYMBA, depth, rule) == {b: layout.layers.count(b) for b in set(layout.layers)}
    replace(TARGET, layers=depth, width=1600, heads=25, kv_heads=5).layout(layout)
    letters = kinds(layout)
    assert letters.index("W") < letters.index("s")


def test_the_layers_that_change_places_are_the_first_ones():
    assert kinds(resize(HYMBA, 6, "stretch")) == "WsAsWs"
    plain = Layout.parse("gla sliding_window(window=8) attention gla*3 shared_attention*9")
    assert kinds(resize(plain, 5)).index("A") < kinds(resize(plain, 5)).index("s")


@pytest.mark.parametrize("text", ["attention(kv_heads=2) shared_attention(kv_heads=2)", str(HYMBA)])
def test_both_scales_build_what_is_shared(text):
    scale = Scale(TARGET, Proxy(), 64)
    with shapes_only():
        model = build_model(scale.layout(Layout.parse(text)), scale.sizes(30))
    for layer in model.layers:
        for reader in [layer.mixer, *getattr(layer.mixer, "branches", [])]:
            assert type(reader).__name__ != "SharedWindow" or reader.window == 16


def test_a_target_refuses_what_reads_nothing():
    with pytest.raises(InputError, match=r"layers\[0\]=shared_attention: expected a layer of softmax attention below"):
        TARGET.layout(Layout.parse("shared_attention attention"))


CHOICES = ["attention", "shared_attention", "gla"]


def test_a_space_proposes_only_what_can_read():
    of = space(CHOICES, layers=4)
    layouts = of.all(1000)
    # Of 3^4, those whose first layer that is not GLA is attention, or that have none.
    assert len(layouts) == sum(3 ** (3 - first) for first in range(4)) + 1
    for layout in layouts:
        TARGET.layout(layout)
        assert of.violations(layout)["reading"] == 0
    drawn = {of.sample(random.Random(seed)) for seed in range(60)}
    assert drawn <= set(layouts) and len(drawn) > 20
    bad = Layout.parse("shared_attention*2 attention gla")
    assert of.violations(bad) == {"reading": 2.0} and not of.feasible(bad)
    attention, reader, gla = (Layout.parse(f"{name}").layers[0] for name in CHOICES)
    assert of.read_by(reader) == [attention] and of.read_by(gla) == of.read_by(attention) == []


def test_a_space_that_nearly_always_reads_nothing():
    of = space(CHOICES, {"at_most": {"attention": 1, "gla": 1}}, layers=12)
    for seed in range(5):
        drawn = of.sample(random.Random(seed))
        assert of.feasible(drawn) and kinds(drawn).lstrip("g")[0] == "A"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"choices": ["shared_attention", "gla"]}, "space.choices=shared_attention: expected beside it a choice of"),
        ({"choices": ["sliding_window", "shared_attention"]}, "beside it a choice of softmax attention with heads="),
        (
            {"choices": CHOICES, "per_layer": {0: ["shared_attention"]}},
            "space.choices=shared_attention: expected layers below that may be what they read",
        ),
    ],
)
def test_spaces_with_nothing_to_read(fields, message):
    with pytest.raises(InputError) as error:
        space(**fields)
    assert message in str(error.value)


def test_a_space_without_readers_builds_none_of_its_blocks(monkeypatch):
    monkeypatch.setattr("search_space.space.space.forms", None)
    of = space(["attention", "gla"])
    assert "reading" not in of.violations(of.sample(random.Random(0)))


def test_a_stack_of_models_shares_too():
    from torch.func import functional_call, stack_module_state

    from kernels.vmap import stacked

    scale = Scale(TARGET, Proxy(), 32)
    layout = Layout.parse("attention(keys_from=embedding) shared_attention sliding_window shared_window")
    models = [build_model(scale.layout(layout), scale.sizes(20), seed) for seed in (0, 1)]
    for model in models:
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    tokens = torch.randint(20, (2, 3, 40))
    parameters, buffers = stack_module_state(models)
    with stacked():
        y = torch.vmap(lambda *inputs: functional_call(models[0], inputs[:2], inputs[2]))(parameters, buffers, tokens)
    expected = torch.stack([model(each) for model, each in zip(models, tokens, strict=True)])
    torch.testing.assert_close(y, expected, atol=1e-4, rtol=1e-4)
