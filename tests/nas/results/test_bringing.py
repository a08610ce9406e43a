"""Layouts that people bring: YAML, short notation, config.json."""

import json

import pytest

from nas.config import load
from nas.results.bringing import read_layout
from nas.results.export import write_all, written
from nas.results.exporters import EXPORTERS, find_exporter, formats_that_hold
from nas.search.setup import check, trainable
from search_space.cost.cost import cost
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.layout import Layout
from search_space.space.choices import SpaceConfig

TINY = Target(layers=6, width=64, heads=4, kv_heads=2, mlp_width=96, vocabulary=64, context=128)
HELD = {
    "yaml": "gla hgrn attention",
    "hf": "gla hgrn attention",
    "qwen3_5": "gated_deltanet(heads=2)*2 gated_attention(gate=element, qk_norm=true)",
    "olmo_hybrid": "gated_deltanet(heads=2)*2 attention",
    "lfm2": "short_conv*2 attention(qk_norm=true)",
    "fla": "gla*2 attention",
    "fast_llm": "sliding_window(window=8)/relu2(ratio=2) gated_deltanet(heads=2)/glu attention",
    "megatron": "mamba2(key_size=8, value_size=16)/relu2 mamba2(key_size=8, value_size=16)/none attention/relu2",
}


@pytest.mark.parametrize("name", HELD)
def test_a_file_is_known_by_what_is_in_it(tmp_path, name):
    layout, made = Layout.parse(HELD[name]), find_exporter(name)(Layout.parse(HELD[name]), TINY)
    if isinstance(made, str):
        place = tmp_path / f"mine.{find_exporter(name).suffix}"
        place.write_text(made)
    else:
        place = tmp_path / "folder"
        write_all(made, place)
    found, sizes = read_layout(place)
    if name != "fast_llm":
        assert found == TINY.layout(layout)
    if name not in ("fast_llm", "megatron"):  # whose layers may be more, or their MLPs differ
        assert list(sizes) == ["layers", "width", "heads", "kv_heads", "mlp_width", "vocabulary", "tied_embeddings"]
        assert sizes == {name: getattr(TINY, name) for name in sizes}
    assert cost(found, Target(**sizes, context=128)) == cost(layout, TINY)


def test_short_notation_states_no_sizes():
    assert read_layout("(gla*2 attention)*8") == (Layout.parse("(gla*2 attention)*8"), {})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "JSON"),
        ("[" * 100_000, "JSON"),
        ('{"model_type": "bert"}', "model_type=bert: expected one of"),
        ('{"model_type": "qwen3_5"}', "did you mean 'qwen3_5_text'"),
        ("[]", "model_type=None"),
        ('{"model_type": "gla", "hidden_size": 64}', r"a config\.json with the keys"),
        ('{"model_type": "nas_hybrid"}', "num_hidden_layers=nothing"),
        ('{"model_type": "gla", "hidden_size": NaN}', "a finite number"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, said):
    file = tmp_path / "config.json"
    file.write_text(content)
    with pytest.raises(InputError, match=said) as refused:
        read_layout(file)
    assert str(file) in str(refused.value) and "\n" not in str(refused.value)


def test_wrong_sizes_of_a_yaml_file_are_named(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("model: {widht: 3}\nlayers: [gla]\n")
    with pytest.raises(InputError, match=r"model.widht=3: expected one of .*did you mean 'width'"):
        read_layout(file)


def test_what_a_format_cannot_hold_is_refused_with_those_that_can():
    layout = Layout.parse("gla*2 attention")
    assert formats_that_hold(layout, TINY) == ["yaml", "hf", "fla"]
    with pytest.raises(InputError, match=r"layers\[0\]=gla: expected .* \(formats that hold it: yaml, hf, fla\)"):
        written(layout, find_exporter("qwen3_5"), TINY)


def test_every_built_in_format_says_what_it_holds():
    for name in EXPORTERS.names():
        exporter = find_exporter(name)
        assert exporter.holds and exporter.tool and exporter.checked and exporter.refusal


def test_a_search_may_be_held_to_a_format():
    space = SpaceConfig(
        choices=["attention", "gla", "gated_deltanet", "bare", "wide"],
        blocks={
            "bare": {"mixer": "gated_deltanet", "mlp": "none"},
            "wide": {"mixer": "gated_deltanet", "conv": {"choose": [0, 4]}},
        },
        per_layer={5: ["gla", "attention"]},
        trainable_with="olmo_hybrid",
    )
    found = trainable(space, TINY)
    assert found.choices == ["attention", "gated_deltanet"] and found.per_layer == {5: ["attention"]}
    assert trainable(SpaceConfig(trainable_with="hf"), TINY).choices == SpaceConfig().choices
    with pytest.raises(InputError, match=r"space\.trainable_with=jamba: expected a format that holds one of gla"):
        trainable(SpaceConfig(choices=["gla"], trainable_with="jamba"), TINY)
    with pytest.raises(InputError, match=r"space\.trainable_with=onnx: expected one of"):
        trainable(SpaceConfig(trainable_with="onnx"), TINY)


def test_the_space_of_a_search_is_held_to_it():
    choices = "space.choices=[attention, gla, gated_deltanet]"
    space = check(load("smoke", [choices, "space.trainable_with=olmo_hybrid"]))
    assert {block.mixer.kind for block in space.blocks.values()} == {"attention", "gated_deltanet"}


def test_trainable_with_a_format_that_does_not_say():
    with pytest.raises(InputError, match="says which layers it can hold"):
        trainable(SpaceConfig(trainable_with="tests.nas.results.test_exporters:as_json"), TINY)


def test_the_sizes_of_a_file_are_json_values(tmp_path):
    text = find_exporter("yaml")(Layout.parse("gla"), TINY)
    (tmp_path / "a.yaml").write_text(text)
    assert json.dumps(read_layout(tmp_path / "a.yaml")[1])
