import re

import pytest

from search_space.layouts.layout import Block
from search_space.layouts.published import published_layouts
from search_space.layouts.resize import resize
from search_space.mixers import MIXERS

BY_NAME = {published.name: published for published in published_layouts()}
STUDY = [published for published in published_layouts() if "2507.06457" in published.source]
LINEAR = {
    "RetNet": "retnet",
    "GLA": "gla",
    "HGRN": "hgrn",
    "HGRN2": "hgrn2",
    "DeltaNet": "deltanet",
    "Gated DeltaNet": "gated_deltanet",
}


def places(name, mixer):
    return [place for place, block in enumerate(BY_NAME[name].layout.layers) if block.mixer.kind == mixer]


def test_names_and_layouts_are_different():
    assert len(BY_NAME) == len(published_layouts())
    assert len({p.layout for p in STUDY}) == len(STUDY) == 31


@pytest.mark.parametrize("published", published_layouts(), ids=lambda p: p.name)
def test_each_says_where_it_comes_from_and_uses_known_mixers(published):
    assert re.search(r"arXiv \d{4}\.\d{5}|released model", published.source)
    assert 2020 <= published.year <= 2030
    assert {block.mixer.kind for block in published.layout.layers} <= set(MIXERS.names())
    assert {name for block in published.layout.layers for name, _ in block.mixer.options} <= {"window"}


@pytest.mark.parametrize("ratio, attention", [("24:1", 1), ("12:1", 2), ("6:1", 4), ("3:1", 8)])
@pytest.mark.parametrize("name, mixer", LINEAR.items())
def test_a_ratio_counts_layers_for_each_attention_layer(name, mixer, ratio, attention):
    period = 24 // attention
    assert places(f"{name} {ratio}", "attention") == list(range(period - 1, 24, period))
    assert len(places(f"{name} {ratio}", mixer)) == 24 - attention
    assert places(name, mixer) == list(range(24))


@pytest.mark.parametrize(
    "name, depth, mixer, count, first",
    [
        ("Transformer", 24, "attention", 24, 0),
        ("Mistral 7B", 32, "sliding_window", 32, 0),
        ("Gemma 2 2B", 26, "attention", 13, 1),
        ("Gemma 3 12B", 48, "attention", 8, 5),
        ("gpt-oss-120b", 36, "sliding_window", 18, 0),
        ("MiniMax-01", 80, "attention", 10, 7),
        ("Qwen3-Next", 48, "gated_attention", 12, 3),
        ("Olmo-Hybrid 7B", 32, "attention", 8, 3),
        ("Gated DeltaNet-H1", 18, "gated_deltanet", 9, 0),
        ("DeltaNet + sliding window", 24, "deltanet", 12, 0),
    ],
)
def test_counts_of_released_models(name, depth, mixer, count, first):
    assert len(BY_NAME[name].layout.layers) == depth
    assert len(places(name, mixer)) == count
    assert places(name, mixer)[0] == first


def test_at_the_depth_of_a_proxy():
    attention = {
        ratio: [b == Block("attention") for b in resize(BY_NAME[f"GLA {ratio}"].layout, 6).layers]
        for ratio in ("24:1", "12:1", "6:1", "3:1")
    }
    assert {ratio: sum(layers) for ratio, layers in attention.items()} == {
        "24:1": 1,
        "12:1": 1,
        "6:1": 1,
        "3:1": 2,
    }
    assert not any(layers[0] for layers in attention.values())
