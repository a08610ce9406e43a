"""`nas mixers` and `nas published`."""

from importlib import import_module

import pytest
import torch
from click.testing import CliRunner

import nas
from kernels import gated_scan
from kernels.backend import forms_on_a_gpu
from nas.catalogue import mixer_rows, select_published
from nas.cli import main
from search_space.layouts.layout import Layout
from search_space.layouts.published import published_layouts
from search_space.mixers import MIXERS
from search_space.parts.base import LayerPart, Mixer
from search_space.parts.build import mixer_class
from search_space.parts.families import FAMILIES
from search_space.parts.part import Part
from tests.nas.test_hostile import refused


def printed(*arguments):
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_mixers_by_family_in_80_columns():
    lines = printed("mixers").splitlines()
    assert max(map(len, lines)) <= 80
    families = [line.partition(":")[0] for line in lines if line.partition(":")[0] in FAMILIES]
    assert families == [family for family in FAMILIES if family in families] and len(families) >= 8
    listed = {line.split()[0]: line.split()[1:] for line in lines if line.startswith("  ")}
    assert set(MIXERS.names()) <= set(listed)
    assert listed["attention"] == ["0", "0", "4.1k", "64", "302M", "16.4k", "1706.03762", "triton"]
    assert listed["gla"][:4] == ["524k", "512", "0", "0"]
    assert listed["hgrn"][1] == "32*" and listed["sliding_window"][2:4] == ["4.1kw", "64w"]


class Unsourced(mixer_class(Part("gla"))):
    """A mixer of somebody's own that names neither paper nor family."""

    source, family = LayerPart.source, Mixer.family


def test_a_mixer_of_ones_own_need_not_say_where_it_is_from():
    text = printed("mixers", f"{__name__}:Unsourced")
    assert "source:  not stated" in text and "of no family" in text


def test_one_mixer_with_its_documentation_options_and_sizes():
    text = printed("mixers", "gla", "target.width=1024", "target.heads=16")
    assert text.startswith(MIXERS.get("gla").__doc__.splitlines()[0])
    assert "options: heads=4, key_size=None, value_size=None, conv=0, gate=plain, normalised=False\n" in text
    assert "family:  linear" in text and "state: 131,072 in the target" in text


def test_one_family_and_another_target():
    lines = printed("mixers", "family:vector", "target.width=1024", "target.heads=16").splitlines()
    assert [line.split()[:2] for line in lines if line.startswith("  ")] == [["hgrn", "1.02k"], ["rg_lru", "1.02k"]]


@pytest.mark.parametrize("name", ["glaa", "family:deltas"])
def test_an_unknown_mixer_or_family(name):
    assert "did you mean" in refused("mixers", name)


def test_the_backend_is_that_of_the_operators():
    rows = {row.name: row for row in mixer_rows(nas.load("laptop"))}
    assert {rows[name].backend for name in ("attention", "gla", "gated_deltanet", "kda", "hgrn", "parallel")} == {
        "triton"
    }
    assert all(row.backend in ("triton", "chunked") for row in rows.values())


def test_what_a_gpu_would_run_is_found_out_without_one(monkeypatch):
    x, decay = torch.randn(1, 3, 4), -torch.rand(1, 3, 4)
    with forms_on_a_gpu() as forms:
        found, _ = gated_scan(x, decay)
    assert forms == ["triton"] and torch.equal(found, gated_scan(x, decay)[0])
    forms_of = import_module("kernels.gated_scan").IMPLEMENTATIONS
    monkeypatch.setitem(forms_of, "triton", forms_of["chunked"])
    with forms_on_a_gpu() as forms:
        gated_scan(x, decay)
    assert forms == ["chunked"]


def test_published_layouts_one_line_each():
    lines = printed("published").splitlines()
    assert len(lines) == 1 + len(published_layouts())
    assert next(line for line in lines if line.startswith("Jamba ")).split()[1:4] == ["2024", "32", "12%"]


@pytest.mark.parametrize(
    "filters, inside, outside",
    [
        ({"mixer": "mamba"}, {"Jamba", "Hymba 1.5B"}, {"Bamba 9B", "Transformer"}),
        ({"family": "window"}, {"Mistral 7B", "Hymba 1.5B"}, {"Jamba"}),
        ({"year": ">=2025"}, {"GLA"}, {"Jamba"}),
        ({"year": "2024"}, {"Jamba"}, {"GLA", "Mistral 7B"}),
        ({"attention": "<=0.125", "mixer": "mamba"}, {"Jamba"}, {"Mamba in the Llama 50%"}),
        ({"attention": ">0"}, {"Jamba", "Hymba 1.5B", "Transformer"}, {"GLA", "Mistral 7B"}),
    ],
)
def test_filters(filters, inside, outside):
    names = {each.name for each in select_published(**filters)}
    assert inside <= names and not outside & names
    arguments = [text for name, value in filters.items() for text in (f"--{name}", value)]
    assert len(printed("published", *arguments).splitlines()) == 1 + len(names)


@pytest.mark.parametrize("arguments", [["Nemotron-H 8B"], ["nemotron-h 8b"], ["--layout", "Nemotron-H 8B"]])
def test_one_published_layout_as_yaml(arguments, tmp_path):
    (tmp_path / "layout.yaml").write_text(printed("published", *arguments))
    by_name = {each.name: each.layout for each in published_layouts()}
    assert Layout.load(tmp_path / "layout.yaml") == by_name["Nemotron-H 8B"]


def test_every_published_layout_can_be_read_back():
    assert all(Layout.from_yaml(each.to_yaml()) == each.layout for each in published_layouts())


@pytest.mark.parametrize(
    "arguments, key, hint",
    [
        (["falcon"], "NAME", "Falcon-H1 7B"),
        (["Jambo"], "NAME", "Jamba"),
        (["--layout", "zzz"], "--layout", "such as"),
        (["--mixer", "mambo"], "--mixer", "mamba"),
        (["--family", "deltas"], "--family", "delta"),
        (["--year", "=>2024"], "--year", ">="),
        (["--attention", "few"], "--attention", "a number"),
    ],
)
def test_what_is_not_published(arguments, key, hint):
    line = refused("published", *arguments)
    assert line.startswith(f"nas: {key}=") and hint in line
