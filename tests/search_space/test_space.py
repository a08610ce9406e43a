import random
from collections import Counter
from itertools import product

import pytest

from search_space.cost.cost import cost
from search_space.cost.objectives import cost_objectives
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.mixers import MIXERS
from search_space.parts.part import Part
from search_space.space import counting
from search_space.space.choices import SpaceConfig
from search_space.space.constraints import Constraints
from search_space.space.space import Space

TARGET = Target()
CHOICES = ["attention", "gla", "hgrn"]


def space(target=TARGET, constraints=None, **fields):
    fields = {"layers": 4, "choices": CHOICES, **fields}
    return Space(SpaceConfig(constraints=Constraints(**(constraints or {})), **fields), target)


def everything(of):
    """All layouts that the decisions of a space lead to."""
    for chosen in product(*(decision.choices for decision in of.decisions)):
        yield of.layout({d.name: choice for d, choice in zip(of.decisions, chosen, strict=True)})


def count(layout, mixer):
    return sum(block.mixer.kind == mixer for block in layout.layers)


def test_every_layer_decides_alone():
    of = space()
    assert [d.layers for d in of.decisions] == [(0,), (1,), (2,), (3,)]
    assert all(d.choices == ("attention", "gla", "hgrn") for d in of.decisions)


def test_tied_in_blocks():
    of = space(layers=5, tie="block", tie_size=2)
    assert [d.layers for d in of.decisions] == [(0, 1), (2, 3), (4,)]
    names = ["gla", "attention", "hgrn"]
    layout = of.layout({d.name: name for d, name in zip(of.decisions, names, strict=True)})
    assert str(layout) == "gla*2 attention*2 hgrn"


def test_tied_in_a_pattern():
    of = space(layers=5, tie="pattern", tie_size=2)
    assert [d.layers for d in of.decisions] == [(0, 2, 4), (1, 3)]
    layout = of.layout({d.name: name for d, name in zip(of.decisions, ["gla", "attention"], strict=True)})
    assert str(layout) == "(gla attention)*2 gla"


def test_choices_of_single_layers():
    of = space(per_layer={"0": ["hgrn"], 3: ["attention", "gated_attention"]})
    assert [d.choices for d in of.decisions] == [
        ("hgrn",),
        ("attention", "gla", "hgrn"),
        ("attention", "gla", "hgrn"),
        ("attention", "gated_attention"),
    ]


def test_tied_layers_take_what_all_of_them_may_be():
    of = space(tie="block", tie_size=2, per_layer={1: ["retnet", "hgrn", "gla"]})
    assert of.decisions[0].choices == ("gla", "hgrn")


def test_blocks_with_options():
    of = space(choices=["local", "gla"], blocks={"local": {"mixer": "sliding_window", "window": 16}})
    layout = of.layout({d.name: "local" for d in of.decisions})
    assert set(layout.layers) == {Block(Part("sliding_window", {"window": 16}))}


FIELDS = {
    "local": {"mixer": "sliding_window", "window": {"choose": [8192, 512]}, "mlp": {"ratio": {"choose": [2, 2.75]}}}
}


def test_options_that_the_search_chooses():
    of = space(layers=2, choices=["gla", "local"], blocks=FIELDS)
    assert [(d.name, d.choices, d.ordered) for d in of.decisions[:3]] == [
        ("layer_0", ("gla", "local"), False),
        ("layer_0.local.window", (512, 8192), True),
        ("layer_0.local.mlp.ratio", (2, 2.75), True),
    ]
    assert of.size == (1 + 4) ** 2 == len(set(everything(of)))
    layout = of.layout(
        {
            "layer_0": "local",
            "layer_0.local.window": 8192,
            "layer_0.local.mlp.ratio": 2,
            "layer_1": "gla",
            "layer_1.local.window": 8192,  # counts for nothing
            "layer_1.local.mlp.ratio": 2.75,
        }
    )
    assert str(layout) == "sliding_window(window=8192)/swiglu(ratio=2) gla"
    values = of.values(layout)
    assert values["layer_0.local.window"] == 8192 and values["layer_1.local.window"] == 512
    assert [of.codebook[row] for row in of.code(layout)] == [(1.0, 1.0, 0.0), (0.0, 0.0, 0.0)]
    assert len(of.codebook) == len(set(of.codebook)) == 1 + 4
    assert set(of.blocks) >= {"gla", "local(window=512, mlp.ratio=2)", "local(window=8192, mlp.ratio=2.75)"}


def test_a_limit_on_a_choice_means_all_its_blocks():
    of = space(layers=2, choices=["gla", "local"], blocks=FIELDS, constraints={"at_most": {"local": 1}})
    assert of.size == 1 + 2 * 4


CASES = {
    "free": {},
    "fields": {"layers": 3, "choices": ["gla", "local"], "blocks": FIELDS, "constraints": {"at_least": {"local": 1}}},
    "blocks": {"tie": "block", "tie_size": 3},
    "pattern": {"tie": "pattern", "tie_size": 3},
    "one layer differs": {"per_layer": {1: ["retnet", "gla"]}},
    "most": {"constraints": {"at_most": {"attention": 1}}},
    "fewest": {"constraints": {"at_least": {"attention": 2}}},
    "exactly": {"constraints": {"at_least": {"attention": 2}, "at_most": {"attention": 2}}},
    "none": {"constraints": {"at_most": {"attention": 0}}},
    "two names": {"constraints": {"at_most": {"attention": 2, "gla": 1}, "at_least": {"hgrn": 1}}},
    "not first": {"constraints": {"not_first": ["attention"], "at_most": {"attention": 2}}},
    "tied and limited": {"tie": "block", "tie_size": 2, "constraints": {"at_most": {"attention": 3}}},
    "pattern, not first": {
        "tie": "pattern",
        "tie_size": 2,
        "constraints": {"not_first": ["attention", "gla"]},
    },
    "forced layers": {
        "per_layer": {0: ["attention"], 1: ["attention"]},
        "constraints": {"at_most": {"attention": 2}},
    },
}


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES)
def test_size_and_samples_agree_with_enumeration(fields):
    of = space(**{"layers": 5, **fields})
    feasible = {layout for layout in everything(of) if of.feasible(layout)}
    assert of.size == len(feasible)
    assert set(of.all(10_000)) == feasible and of.all(1) is None
    rng = random.Random(0)
    drawn = Counter(of.sample(rng) for _ in range(60 * of.size))
    assert set(drawn) == feasible
    assert min(drawn.values()) > 60 / 3 and max(drawn.values()) < 60 * 2


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES)
def test_decisions_lead_back(fields):
    of = space(**fields)
    for layout in everything(of):
        assert of.layout(of.values(layout)) == layout


@pytest.mark.parametrize(
    "names",
    [
        ["gla"] * 3,
        ["gla"] * 5,
        ["gla", "gla", "gla", "retnet"],
        ["gla", "hgrn", "gla", "gla"],
        ["attention"] * 4,
    ],
    ids=["too short", "too deep", "no choice", "tied", "not first"],
)
def test_layouts_outside_have_no_decisions(names):
    of = space(tie="block", tie_size=2, constraints={"not_first": ["attention"]})
    assert of.values(Layout.from_dict({"layers": names})) is None


def test_violations_are_amounts():
    limits = {
        "at_most": {"attention": 1},
        "at_least": {"gla": 2},
        "not_first": ["attention"],
        "max_cache_bytes": 2 * 2**30,
    }
    of = space(constraints=limits)
    layout = Layout.from_dict({"layers": ["attention"] * 4})
    assert of.violations(layout) == {
        "at_most.attention": 3,
        "at_least.gla": 2,
        "not_first.attention": 1,
        "max_cache_bytes": pytest.approx(6 / 2 - 1),
    }
    assert not of.feasible(layout)
    good = of.sample(random.Random(0))
    assert of.feasible(good)
    assert of.violations(good).keys() == of.violations(layout).keys()


def test_a_mixer_means_all_its_blocks_and_a_block_only_itself():
    blocks = {name: {"mixer": "sliding_window", "window": w} for name, w in [("near", 16), ("far", 64)]}
    layout = {"blocks": blocks, "layers": ["near", "near", "far", "gla"]}
    of = space(
        choices=["near", "far", "gla"],
        blocks=blocks,
        constraints={"at_most": {"sliding_window": 4, "near": 4}},
    )
    violations = of.violations(Layout.from_dict(layout))
    assert violations == {"at_most.sliding_window": 3 - 4, "at_most.near": 2 - 4}


@pytest.mark.parametrize("key, attention", [("max_decode_ms", 4), ("max_cache_bytes", 4), ("max_parameters", 0)])
def test_budgets_are_kept(key, attention):
    """Budgets at exactly what one layout costs: it is allowed, and nothing dearer is drawn."""
    mixers = ["attention"] * attention + ["gated_deltanet"] * (12 - attention)
    limit = cost_objectives()[key.removeprefix("max_")](cost(Layout.from_dict({"layers": mixers}), TARGET))
    of = space(layers=12, choices=["attention", "gated_deltanet"], constraints={key: limit})
    assert of.feasible(Layout.from_dict({"layers": mixers}))
    rng = random.Random(0)
    drawn = {of.sample(rng) for _ in range(30)}
    assert len(drawn) > 20
    assert all(of.feasible(layout) for layout in drawn)
    if key != "max_parameters":
        assert max(count(layout, "attention") for layout in drawn) == attention


def test_a_budget_that_few_layouts_keep():
    cheapest = cost(Layout((Block("hgrn"),)), TARGET).decode_ms
    of = space(layers=24, constraints={"max_decode_ms": cheapest * 1.0001})
    assert str(of.sample(random.Random(0))) == "hgrn*24"


def test_budgets_that_pull_apart():
    """Attention has fewer parameters and more cache than Gated DeltaNet: both budgets need a mixture."""
    pure = [cost(Layout((Block(m),)), TARGET) for m in ("attention", "gated_deltanet")]
    limits = {
        "max_parameters": sum(of.parameters for of in pure) / 2 + 1,
        "max_cache_bytes": sum(of.cache_bytes for of in pure) / 2 + 1,
    }
    of = space(layers=12, choices=["attention", "gated_deltanet"], constraints=limits)
    assert {count(of.sample(random.Random(seed)), "attention") for seed in range(5)} == {6}


def test_budgets_with_limits_on_counts():
    of = space(layers=12, constraints={"max_decode_ms": 4.0, "at_least": {"attention": 2}})
    for seed in range(10):
        layout = of.sample(random.Random(seed))
        assert of.feasible(layout) and count(layout, "attention") == 2


@pytest.mark.parametrize("tie, size", [("layer", 1), ("block", 20), ("pattern", 20)])
def test_deep_spaces_are_counted_at_once(tie, size):
    of = space(layers=400, tie=tie, tie_size=size, constraints={"at_most": {"attention": 100}})
    assert of.feasible(of.sample(random.Random(0)))
    assert of.size < 3 ** len(of.decisions)


LOCAL = {"local": {"mixer": "sliding_window", "window": 8}}


@pytest.mark.parametrize(
    "fields, key, hint",
    [
        ({"layers": 0}, "space.layers", "positive integer"),
        ({"layers": True}, "space.layers", "positive integer"),
        ({"choices": []}, "space.choices", "at least one"),
        ({"choices": ["gla", "atention"]}, "space.choices", "did you mean 'attention'?"),
        ({"choices": ["lokal"], "blocks": LOCAL}, "space.choices", "did you mean 'local'?"),
        ({"choices": ["gla", "it"], "blocks": {"it": {"mixer": "gla"}}}, "space.choices", "gla is the same"),
        ({"blocks": {"a": {"window": 3}}}, "space.blocks.a", "a mapping with a mixer"),
        (
            {"blocks": {"a": {"mixer": "gla", "heads": {"choose": []}}}},
            "space.blocks.a.heads",
            "different plain values",
        ),
        ({"blocks": {"a": {"mixer": "gla", "heads": {"choose": [2, 2]}}}}, "space.blocks.a.heads", "different"),
        ({"blocks": {"a": {"mixer": "gla", "heads": {"choose": 2}}}}, "space.blocks.a.heads", "different"),
        (
            {"blocks": {"a": {"mixer": "gla", "heads": {"choose": list(range(1, 2000))}}}},
            "space.blocks.a",
            "at most 1000",
        ),
        ({"per_layer": {4: ["gla"]}}, "space.per_layer.4", "a layer from 0 to 3"),
        ({"per_layer": {"last": ["gla"]}}, "space.per_layer.last", "a layer from 0 to 3"),
        ({"per_layer": {1: []}}, "space.per_layer.1", "at least one"),
        ({"per_layer": {1: ["glaa"]}}, "space.per_layer.1", "did you mean 'gla'?"),
        ({"tie": "blocks"}, "space.tie", "did you mean 'block'?"),
        ({"tie_size": 2}, "space.tie_size", "1 where space.tie is layer"),
        ({"tie": "block", "tie_size": 5}, "space.tie_size", "at most space.layers=4"),
        ({"tie": "block", "tie_size": 0}, "space.tie_size", "positive integer"),
        (
            {"tie": "block", "tie_size": 2, "per_layer": {0: ["gla"], 1: ["hgrn"]}},
            "space.per_layer",
            "the tied layers 0, 1 share",
        ),
        ({"constraints": {"at_most": {"atention": 1}}}, "space.constraints.at_most.atention", "did you mean"),
        ({"constraints": {"at_most": {"gla": -1}}}, "space.constraints.at_most.gla", "0 or more"),
        ({"constraints": {"at_least": {"hgrn": 5}}}, "space.constraints.at_least.hgrn", "at most 4"),
        ({"constraints": {"at_least": {"retnet": 1}}}, "space.constraints.at_least.retnet", "at most 0"),
        (
            {"choices": ["attention"], "constraints": {"at_most": {"attention": 0}}},
            "space.constraints.at_most.attention",
            "at least 4",
        ),
        (
            {"constraints": {"at_least": {"attention": 3, "gla": 2}}},
            "space.constraints",
            "limits that 4 layers can keep together",
        ),
        (
            {"tie": "block", "tie_size": 2, "constraints": {"at_least": {"gla": 1}, "at_most": {"gla": 1}}},
            "space.constraints",
            "limits that 4 layers can keep together",
        ),
        ({"constraints": {"not_first": ["attn"]}}, "space.constraints.not_first", "did you mean"),
        (
            {"constraints": {"not_first": ["attention", "gla", "hgrn"]}},
            "space.constraints.not_first",
            "a choice left for layer 0",
        ),
        ({"constraints": {"max_decode_ms": 0}}, "space.constraints.max_decode_ms", "a positive number"),
        ({"constraints": {"max_parameters": 1e6}}, "space.constraints.max_parameters", "the cheapest layout"),
        (
            {"choices": ["attention"], "constraints": {"max_decode_ms": 16}},
            "space.constraints.max_decode_ms",
            "at least 16.1",
        ),
        (
            {
                "choices": ["attention", "gated_deltanet"],
                "constraints": {"max_parameters": 1.37e9, "max_cache_bytes": 1e9},
            },
            "space.constraints",
            "budgets that some layout keeps together",
        ),
    ],
)
def test_mistakes_name_the_key(fields, key, hint):
    with pytest.raises(InputError) as error:
        space(**fields)
    assert error.value.key == key
    assert hint in error.value.expected


def test_too_many_limits_are_refused(monkeypatch):
    limits = {"at_most": {"attention": 3, "gla": 3}}
    space(layers=10, constraints=limits)
    monkeypatch.setattr(counting, "MOST_ROWS", 100)
    with pytest.raises(InputError, match=r"space\.constraints=at_most\.attention, at_most\.gla: expected fewer"):
        space(layers=10, constraints=limits)


def test_configured_with_omegaconf():
    omegaconf = pytest.importorskip("omegaconf")
    schema = omegaconf.OmegaConf.structured(SpaceConfig)
    text = """
        layers: 3
        choices: [attention, local]
        blocks: {local: {mixer: sliding_window, window: 8}}
        per_layer: {0: [local]}
        constraints: {at_most: {attention: 1}, max_decode_ms: 10}
    """
    config = omegaconf.OmegaConf.to_object(omegaconf.OmegaConf.merge(schema, omegaconf.OmegaConf.create(text)))
    assert Space(config, TARGET).size == 3

    schema = omegaconf.OmegaConf.structured(Target)
    text = "{device: {flops: 1e12, bandwidth: 1e11, memory: 8e9}, options: {sliding_window: {window: 8}}}"
    target = omegaconf.OmegaConf.to_object(omegaconf.OmegaConf.merge(schema, omegaconf.OmegaConf.create(text)))
    assert target.hardware.flops == 1e12 and target.options == {"sliding_window": {"window": 8}}


def test_a_family_stands_for_its_mixers():
    of = space(choices=["family:vector", "attention", "hgrn/none"], per_layer={1: ["family:delta/none"]})
    names = of.decisions[0].choices
    assert {"hgrn", "rg_lru", "attention", "hgrn/none"} <= set(names)
    assert all(Layout.parse(name).layers[0].mixer.kind in MIXERS.names() for name in names)
    assert {MIXERS.get(name).family for name in names if "/" not in name} == {"vector", "attention"}
    assert {"deltanet/none", "gated_deltanet/none", "kda/none"} <= set(of.decisions[1].choices)


def test_a_constraint_on_a_family_counts_all_its_blocks():
    blocks = {"own": {"mixer": "gated_deltanet", "conv": 0}}
    limits = {"at_most": {"family:delta": 1}, "not_first": ["family:attention"]}
    of = space(choices=["deltanet", "own", "attention", "gla"], blocks=blocks, constraints=limits)
    assert not of.feasible(Layout.parse("deltanet gated_deltanet(conv=0) gla gla"))
    assert of.feasible(Layout.parse("gla deltanet attention attention"))
    assert "attention" not in of.decisions[0].choices


@pytest.mark.parametrize(
    "fields, key",
    [
        ({"choices": ["family:deltas"]}, "space.choices"),
        ({"choices": ["family:"]}, "space.choices"),
        ({"per_layer": {0: ["family:nonsense"]}}, "space.per_layer.0"),
        ({"constraints": {"at_most": {"family:nonsense": 1}}}, "space.constraints.at_most.family:nonsense"),
    ],
)
def test_a_family_that_is_none_is_refused_with_those_there_are(fields, key):
    with pytest.raises(InputError) as caught:
        space(**fields)
    assert caught.value.key == key
    assert "convolution" in str(caught.value) and "\n" not in str(caught.value)
