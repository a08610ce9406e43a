import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import yaml

from nas.config import Config
from nas.results.export import export, write_all
from nas.results.exporters import find_exporter
from nas.results.front import record
from nas.testing import ExporterContract
from search_space.cost.cost import cost
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.layouts.published import Origin, published_layouts
from search_space.layouts.resize import resize
from tests.nas.examples import TARGET, config, layout, trial


class TestNeutralYaml(ExporterContract):
    exporter = "yaml"


def as_json(layout, target):
    """An exporter of one's own, from outside the package: a function with an attribute."""
    sizes = {"layers": target.layers, "width": target.width, "mlp_width": target.mlp_width}
    return json.dumps({**sizes, "blocks": [str(b) for b in resize(layout, target.layers).layers]}) + "\n"


as_json.suffix = "json"
OWN = f"{__name__}:as_json"


class TestOwn(ExporterContract):
    exporter = OWN


def no_suffix(layout, target):
    return ""


@pytest.mark.parametrize(
    "name, said",
    [
        ("onnx", "one of"),
        ("no.such:thing", "importable"),
        (f"{__name__}:no_suffix", "suffix"),
        (f"{__name__}:OWN", "suffix"),
    ],
)
def test_what_is_no_exporter_is_refused(name, said):
    with pytest.raises(InputError, match="--format") as refused:
        find_exporter(name)
    assert said in str(refused.value)


@pytest.mark.parametrize("name, suffix", [("yaml", "yaml"), (OWN, "json")])
def test_files_are_named_after_trials_and_the_suffix(tmp_path, name, suffix):
    texts = export([trial(1), trial(12)], find_exporter(name), TARGET)
    assert list(texts) == [f"trial_1.{suffix}", f"trial_12.{suffix}"]
    write_all(texts, tmp_path / "out" / "here")
    assert sorted(p.name for p in (tmp_path / "out" / "here").iterdir()) == [f"trial_1.{suffix}", f"trial_12.{suffix}"]


def test_a_folder_is_not_named_like_a_file(tmp_path):
    texts = export([trial(1), trial(2)], find_exporter("yaml"), TARGET)
    with pytest.raises(InputError, match="a folder for 2 files"):
        write_all(texts, tmp_path / "front.yaml")
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(InputError, match="can be written"):
        write_all(texts, tmp_path / "taken")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_a_folder_is_written_whole_and_leaves_other_files_alone(tmp_path):
    folder = tmp_path / "model"
    texts = export([trial(1), trial(2)], find_exporter("hf"), TARGET, config())
    assert {name.split("/")[0] for name in texts} == {"trial_1", "trial_2"}
    assert "Trial 2 of the search 'search', trained with 1 seed." in texts["trial_2/README.md"]
    write_all(texts, folder)
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == set(texts)
    (folder / "trial_1" / "model.safetensors").write_text("trained")
    (folder / "trial_1" / "README.md").write_text("older")
    write_all(texts, folder)
    assert (folder / "trial_1" / "model.safetensors").read_text() == "trained"
    assert (folder / "trial_1" / "README.md").read_text() == texts["trial_1/README.md"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"], "nothing is left beside it"


@pytest.mark.parametrize("place", ["x" * 300, "taken", "taken/below", "a\0b", "model.json"])
def test_a_place_where_no_folder_can_be_is_refused(tmp_path, place):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(InputError, match="-o="):
        write_all(export([trial(1)], find_exporter("hf"), TARGET), tmp_path / place)
    assert [p.name for p in tmp_path.iterdir()] == ["taken"] and (tmp_path / "taken").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_not_begun(tmp_path, monkeypatch):
    texts = export([trial(1)], find_exporter("hf"), TARGET)
    written = []

    def full(path, text):
        written.append(path)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        path.write_text(text)

    monkeypatch.setattr("nas.results.export.write_text", full)
    with pytest.raises(InputError, match="No space left"):
        write_all(texts, tmp_path / "model")
    assert len(written) == 3 and not list(tmp_path.iterdir())


def test_a_published_layout_is_exported_from_its_own_depth():
    origin = Origin("Known", Layout(layout(1).layers * 2))
    mine = replace(trial(1), layout=Layout(layout(1).layers[:2]), origin=origin)
    (text,) = export([mine], find_exporter("yaml"), replace(TARGET, layers=12)).values()
    assert Layout.from_yaml(text) == origin.layout


def test_the_sizes_of_the_model_are_keys():
    def content(target: Target):
        return yaml.safe_load(find_exporter("yaml")(layout(1), target))

    assert content(TARGET)["model"] == {
        "layers": 6,
        "width": 512,
        "heads": 8,
        "kv_heads": 8,
        "mlp_width": 1408,
        "vocabulary": 32_000,
        "tied_embeddings": False,
    }
    assert content(replace(TARGET, width=1024))["model"]["width"] == 1024
    assert content(replace(TARGET, kv_heads=2, tied_embeddings=True))["model"].items() >= {
        ("kv_heads", 2),
        ("tied_embeddings", True),
    }


def test_the_text_reads_back_as_the_layout():
    text = find_exporter("yaml")(layout(1), replace(TARGET, layers=12))
    assert Layout.from_yaml(text) == resize(layout(1), 12)


def test_one_rule_of_depth_for_price_export_and_figure():
    found = Layout.parse("gated_deltanet*3 gated_attention")
    long = {rule: replace(TARGET, layers=48, resize=rule) for rule in ("auto", "pattern", "stretch")}
    expected = {
        "auto": "gated_deltanet*36 gated_attention*12",
        "pattern": "(gated_deltanet*3 gated_attention)*12",
        "stretch": "gated_deltanet*36 gated_attention*12",
    }
    for rule, target in long.items():
        text = find_exporter("yaml")(found, target)
        assert str(Layout.from_yaml(text)) == expected[rule] and "48 layers from 4: " in text
        shown = record(replace(trial(1), layout=found), Config(target=target))
        assert Layout(tuple(Block(name) for name in shown.layers)) == Layout.from_yaml(text) == target.layout(found)
    published = next(p.layout for p in published_layouts() if p.name == "Qwen3-Next")
    assert str(Layout.from_yaml(find_exporter("yaml")(published, long["auto"]))) == (
        "(gated_deltanet*3 gated_attention(gate=element, qk_norm=true))*12"
    )
    odd = Layout.parse("gla*2 attention*3")
    assert cost(odd, replace(TARGET, layers=7, resize="pattern")) == cost(
        Layout.parse("gla*2 attention*3 gla*2"), replace(TARGET, layers=7)
    )
    with pytest.raises(InputError, match=r"target.resize=both: expected one of auto, pattern, stretch"):
        replace(TARGET, resize="both")


def test_the_text_says_how_its_times_were_got():
    assert "ms at batch 8, by roofline" in find_exporter("yaml")(layout(1), TARGET)
    measured = replace(TARGET)
    # In the place of a profile that was loaded.
    vars(measured)["measured"] = SimpleNamespace(
        about={"device": "my laptop"},
        flops=1e12,
        bandwidth=1e11,
        decode_ms=lambda *_: 1.25,
        prefill_ms=lambda *_: 9.0,
    )
    text = find_exporter("yaml")(layout(1), measured)
    assert "1.25 ms at batch 8, measured on my laptop" in text and "roofline" not in text
