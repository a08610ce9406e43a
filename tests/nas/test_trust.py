"""Opening somebody's folder runs none of their code, and connects to nothing of theirs."""

import json

import pytest
from click.testing import CliRunner

import nas
from nas.cli import main
from tests.nas.test_hostile import made, refused

OVERRIDES = {
    "a mixer": 'space.choices=[gla, attention, "evil:Mixer"]',
    "a channel mixer": 'space.choices=[gla, attention, "gla/evil:Mlp"]',
    "a block": "space.blocks={a: {mixer: 'evil:Mixer'}}",
    "a branch": "space.blocks={a: {mixer: parallel, branches: [gla, 'evil:Mixer']}}",
    "a mixer like a family": 'space.choices=[gla, attention, "xfamily:Mixer"]',
    "a module in a package called family": 'space.choices=[gla, attention, "family.evil:Mixer"]',
    "a task": "tasks.mine={task: 'evil:Task'}",
    "a sampler": "search.sampler='evil:Sampler'",
}


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A module that says when it is imported."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "ran"


@pytest.mark.parametrize("override", OVERRIDES.values(), ids=OVERRIDES.keys())
def test_a_configuration_that_names_code(tmp_path, evil, override):
    folder = made(tmp_path / "run", override)
    for command in ("status", "front", "export", "resume", "audit", "ui"):
        assert "--trust" in refused(command, folder)
    assert not evil.exists()


def test_a_section_that_names_code(tmp_path, evil):
    folder = made(tmp_path / "run")
    config = (folder / "config.yaml").read_text()
    for old, new in (("- recall", "- evil:objective"), ("  options: {}", "  options: {'evil:Mixer': {a: 1}}")):
        assert old in config
        (folder / "config.yaml").write_text(config.replace(old, new))
        assert "--trust" in refused("front", folder)
    assert not evil.exists()


@pytest.mark.parametrize("where", ["layout", "origin"])
def test_a_record_that_names_code(tmp_path, evil, where):
    folder = made(tmp_path / "run")
    lines = (folder / "runs.jsonl").read_text().splitlines()
    record = json.loads(lines[0])
    layout = {"blocks": {"a": {"mixer": "evil:Mixer"}}, "layers": ["a", "gla"]}
    record[where] = layout if where == "layout" else {"name": "X", "layout": layout}
    (folder / "runs.jsonl").write_text("\n".join([*lines, json.dumps(record), ""]))
    for command in ("status", "front", "export", "resume"):
        assert "--trust" in (line := refused(command, folder)) and "line 7" in line
    assert not evil.exists()


def test_code_that_is_trusted_is_imported(tmp_path, evil):
    folder = made(tmp_path / "run", 'space.choices=[gla, attention, "search_space.mixers.gla:GatedLinearAttention"]')
    assert "trial" in CliRunner().invoke(main, ["front", "--trust", str(folder)]).stdout
    assert len(nas.open(folder, trust=True).trials) == 6
    with pytest.raises(nas.InputError, match="--trust"):
        nas.open(folder)


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "a ${name}", "???"])
def test_nothing_in_a_folder_stands_for_something_else(tmp_path, text):
    folder = made(tmp_path / "run")
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("name: smoke", f"name: '{text}'"))
    line = refused("front", folder)
    assert "config.yaml" in line and "name" in line


def test_a_cluster_of_others_is_not_joined(tmp_path):
    folder = made(tmp_path / "run", "workers.address='ray://somewhere:10001'", "workers.pool=ray")
    for command in ("resume", "audit"):
        assert "workers.address" in refused(command, folder)
    assert CliRunner().invoke(main, ["status", str(folder)]).exit_code == 0


def test_layouts_elsewhere_are_not_touched(tmp_path):
    folder, elsewhere = made(tmp_path / "run"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "trial_9.yaml").write_text("mine")
    (folder / "layouts").symlink_to(elsewhere)
    assert "layouts" in refused("resume", folder, "search.trials=6")
    assert (elsewhere / "trial_9.yaml").read_text() == "mine"


def test_a_family_of_mixers_is_no_code(tmp_path, monkeypatch):
    (tmp_path / "family.py").write_text("delta = open('ran', 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    folder = made(tmp_path / "run", "space.choices=['family:delta', attention]")
    assert CliRunner().invoke(main, ["status", str(folder)]).exit_code == 0
    assert not (tmp_path / "ran").exists()
