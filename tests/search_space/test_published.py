import re

import pytest

from search_space.layouts.block import Block
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

PARALLEL = {("parallel", "branches"), ("parallel", "combine"), ("parallel", "norm")}


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
    assert {block.mlp.kind for block in published.layout.layers} <= {"swiglu", "relu2", "none"}
    options = {(block.mixer.kind, name) for block in published.layout.layers for name, _ in block.mixer.options}
    assert options <= {
        ("sliding_window", "window"),
        ("short_conv", "conv"),
        ("mla", "rope_theta"),
        ("gated_attention", "gate"),
        ("gated_attention", "qk_norm"),
        ("gated_deltanet", "negative_eigenvalues"),
        *PARALLEL,
    }


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
        ("Jamba", 32, "attention", 4, 4),
        ("Jamba-1.5 Large", 72, "attention", 9, 4),
        ("Samba 421M", 12, "mamba", 6, 0),
        ("Samba 1.3B", 18, "mamba", 9, 0),
        ("Samba 1.7B", 24, "mamba", 12, 0),
        ("Samba 3.8B", 32, "mamba", 16, 0),
        ("Mamba in the Llama 50%", 32, "attention", 16, 1),
        ("Mamba-2 in the Llama 25%", 32, "attention", 24, 1),
        ("Mamba-2 in the Llama 50%", 32, "attention", 16, 1),
        ("Mamba-2 in the Llama 75%", 32, "attention", 8, 3),
        ("Mamba-2 in the Llama 87.5%", 32, "attention", 4, 7),
        ("Hawk 7B", 32, "rg_lru", 32, 0),
        ("Griffin 7B", 32, "sliding_window", 10, 2),
        ("RecurrentGemma 2B", 26, "sliding_window", 8, 2),
        ("RecurrentGemma 9B", 38, "sliding_window", 12, 2),
        ("Falcon-H1 0.5B", 36, "parallel", 36, 0),
        ("Falcon-H1 1.5B", 24, "parallel", 24, 0),
        ("Falcon-H1 1.5B Deep", 66, "parallel", 66, 0),
        ("Falcon-H1 3B", 32, "parallel", 32, 0),
        ("Falcon-H1 7B", 44, "parallel", 44, 0),
        ("Falcon-H1 34B", 72, "parallel", 72, 0),
        ("SpikingBrain 7B", 28, "gla", 14, 0),
        ("Linear-MoE GLA", 12, "attention", 3, 3),
        ("Linear-MoE Mamba-2", 12, "attention", 3, 3),
        ("Ring-flash-linear 2.0", 32, "attention", 4, 7),
        ("Ring-mini-linear 2.0", 20, "attention", 4, 4),
        ("laNSA", 24, "nsa", 12, 1),
        ("RAT + sliding window", 24, "rat", 12, 0),
        ("SCOUT with Mamba", 28, "strided_attention", 14, 1),
        ("StripedHyena-1 7B", 32, "hyena_li", 16, 0),
        ("Evo 2 7B", 32, "hyena_se", 9, 0),
        ("Ling-3.0-Flash", 42, "mla", 7, 5),
        ("GLM-5.3-Flash", 45, "attention", 11, 3),
        ("Qwen4-Exp", 40, "attention", 10, 3),
    ],
)
def test_counts_of_released_models(name, depth, mixer, count, first):
    assert len(BY_NAME[name].layout.layers) == depth
    assert len(places(name, mixer)) == count
    assert places(name, mixer)[0] == first


@pytest.mark.parametrize(
    "name, depth, mixer, where",
    [
        ("Granite 4.0-H", 40, "attention", [5, 15, 25, 35]),
        ("Granite 4.0-H 350M", 32, "attention", [10, 13, 17, 27]),
        ("Bamba 9B", 32, "attention", [9, 18, 27]),
        ("Mamba-2 + attention 2.7B", 64, "attention", [9, 18, 27, 36, 45, 56]),
        ("Kimi Linear 48B-A3B", 27, "mla", [3, 7, 11, 15, 19, 23, 26]),
        ("Evo 2 1B", 25, "attention", [3, 10, 17, 24]),
        ("Evo 2 7B", 32, "attention", [3, 10, 17, 24, 31]),
        ("Evo 2 40B", 50, "attention", [3, 10, 17, 24, 31, 35, 42, 49]),
        ("Jet-Nemotron 2B", 28, "attention", [14, 19]),
        ("Jet-Nemotron 2B", 28, "sliding_window", [20, 21]),
        ("Jet-Nemotron 4B", 36, "attention", [17, 20, 32]),
        ("Jet-Nemotron 4B", 36, "sliding_window", [5, 16, 19, 21, 22, 25, 27]),
        ("Based 360M", 27, "based", [1, 6, 11, 16, 21]),
        ("Based 360M", 27, "sliding_window", [2, 7, 12, 17, 22]),
        ("LFM2", 16, "attention", [2, 5, 8, 10, 12, 14]),
        ("LFM3 1.7B", 24, "attention", [2, 6, 10, 14, 18, 22]),
        ("LFM3 1.7B", 24, "sliding_window", [4, 8, 12, 16, 20]),
        ("Nemotron-Flash 1B", 12, "deltanet", [0, 4, 8, 10]),
        ("Nemotron-Flash 1B", 12, "attention", [2, 6]),
        ("Lara-4-Mini", 34, "attention", [3, 8, 13, 18, 23, 28, 33]),
        ("Lara-4-Mini", 34, "sliding_window", sorted([*range(1, 34, 5), *range(4, 34, 5)])),
    ],
)
def test_lists_of_released_models(name, depth, mixer, where):
    assert len(BY_NAME[name].layout.layers) == depth
    assert places(name, mixer) == where


# As their papers write them: M Mamba-2, * attention, - a channel mixer (E where it is experts).
NEMOTRON = {
    "Nemotron-H 8B": "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-",
    "Nemotron Nano 9B v2": "M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-",
    "Nemotron 3 Nano 30B-A3B": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME",
}


@pytest.mark.parametrize("name", NEMOTRON)
def test_layers_of_nemotron(name):
    letters = {"mamba2": "M", "attention": "*", "none": "", "relu2": "E" if "3" in name else "-"}
    layers = BY_NAME[name].layout.layers
    assert "".join(letters[part.kind] for block in layers for part in (block.mixer, block.mlp)) == NEMOTRON[name]


@pytest.mark.parametrize(
    "name, mixer, before",
    [
        ("Zamba 7B", "mamba", [2, *range(7, 74, 6)]),
        ("Zamba2 1.2B", "mamba2", [5, 11, 17, 23, 29, 35]),
        ("Zamba2 2.7B", "mamba2", [6, 12, 18, 24, 30, 36, 42, 47, 51]),
    ],
)
def test_attention_of_zamba_stands_before_these_layers(name, mixer, before):
    counts = {"Zamba 7B": 76, "Zamba2 1.2B": 38, "Zamba2 2.7B": 54}
    layers = BY_NAME[name].layout.layers
    assert len(places(name, mixer)) == counts[name]
    assert [place - number for number, place in enumerate(places(name, "attention"))] == before
    assert all((block.mlp.kind == "none") == (block.mixer.kind == mixer) for block in layers)


def test_hymba_has_three_layers_of_full_attention():
    branches = [dict(block.mixer.options)["branches"] for block in BY_NAME["Hymba 1.5B"].layout.layers]
    assert len(branches) == 32 and {mamba.kind for _, mamba in branches} == {"mamba"}
    assert [i for i, (attention, _) in enumerate(branches) if attention.kind == "attention"] == [0, 15, 31]


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
