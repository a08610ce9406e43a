import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import yaml

from nas.results.export import export, write_all
from nas.results.exporters import find_exporter
from nas.testing import ExporterContract
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.layout import Layout
from search_space.layouts.published import Origin
from search_space.layouts.resize import resize
from tests.nas.examples import TARGET, layout, trial


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


def test_the_text_says_how_its_times_were_got():
    assert "ms at batch 8, by roofline" in find_exporter("yaml")(layout(1), TARGET)
    measured = replace(TARGET)
    # In the place of a profile that was loaded.
    vars(measured)["measured"] = SimpleNamespace(
        about={"device": "my laptop"}, decode_ms=lambda *_: 1.25, prefill_ms=lambda *_: 9.0
    )
    text = find_exporter("yaml")(layout(1), measured)
    assert "1.25 ms at batch 8, measured on my laptop" in text and "roofline" not in text
