"""Bad input: one clear line that names the key, the value and what was expected; code 2; nothing written."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from nas.cli import main
from tests.conftest import TINY

OVERRIDES = {
    "unknown mixer": ("space.choices=[attention, mambo]", "space.choices=mambo", "one of"),
    "misspelt mixer": ("space.choices=[attention, gated_deltnet]", "gated_deltnet", "did you mean 'gated_deltanet'"),
    "misspelt key": ("search.secnods=10", "search.secnods=10", "did you mean 'seconds'"),
    "misspelt section": ("serch.seconds=10", "serch", "did you mean 'search'"),
    "no layers": ("space.layers=0", "space.layers=0", "a positive integer"),
    "negative seconds": ("search.seconds=-5", "search.seconds=-5", "a positive number"),
    "no seed in a job": ("search.seeds_per_job=0", "search.seeds_per_job=0", "a positive integer"),
    "no trials": ("search.trials=0", "search.trials=0", "a positive integer"),
    "no budget": ("search.trials=null", "search.trials", "a number"),
    "impossible count": ("space.constraints.at_least={attention: 9}", "at_least", "at most 4"),
    "impossible budget": ("space.constraints.max_decode_ms=0.001", "max_decode_ms=0.001", "cheapest"),
    "word for a number": ("search.seeds=many", "search.seeds=many", "an integer"),
    "key without its section": ("seconds=60", "seconds=60", "did you mean search.seconds?"),
    "key of several sections": ("steps=9", "steps=9", "did you mean training.steps or loss.steps?"),
    "no key": ("=3", "=3", "key=value"),
    "no value": ("smoke", "smoke", "key=value"),
    "empty value": ("training.steps=", "training.steps", "an integer"),
    "broken yaml": ("space.choices=[attention", "space.choices", "YAML"),
    "number for a section": ("search=3", "search=3", "a mapping"),
    "unknown sampler": ("search.sampler=bayes", "search.sampler=bayes", "one of"),
    "unknown objective": ("search.objectives=[recall, speed]", "search.objectives=speed", "one of"),
    "one objective": ("search.objectives=[recall]", "search.objectives=", "two or three"),
    "objectives without training": ("search.objectives=[decode_ms, cache_bytes]", "search.objectives", "training"),
    "objective of no task": ("search.objectives=[text_loss, decode_ms]", "search.objectives=text_loss", "'text'"),
    "no objective": (
        "search.objectives=[recall, 'search_space.cost.cost:Cost']",
        "search_space.cost.cost:Cost",
        "objectives.Objective",
    ),
    "unknown device": ("target.device=h1000", "target.device=h1000", "did you mean 'h100'"),
    "unknown task": ("tasks.recal={}", "tasks.recal=recal", "did you mean 'recall'"),
    "list for a task": ("tasks.recall=[1]", "tasks.recall=[1]", "a mapping"),
    "unknown task option": ("tasks.recall.pair=[2]", "tasks.recall.pair=[2]", "did you mean 'pairs'"),
    "task too long": ("tasks.recall.pairs=[2, 30]", "tasks.recall.pairs", "from 1 to"),
    "unknown mixer option": ("proxy.options.gla.head=2", "proxy.options.gla.head=2", "did you mean 'heads'"),
    "indivisible heads": ("proxy.heads=3", "proxy.heads=3", "a divisor"),
    "not a learning rate": ("training.learning_rate=nan", "training.learning_rate=nan", "a finite number"),
    "no truth value": ("search.published=papers", "search.published=papers", "true or false"),
    "beyond certainty": ("search.reseed_above=2", "search.reseed_above=2", "a probability"),
    "missing text": ("text.paths=[/no/such/file]", "text.paths=/no/such/file", "exists"),
    "unknown pool": ("workers.pool=slurm", "workers.pool=slurm", "ray or local"),
    "nonsense server": ("tracking.uri=foo://bar", "tracking.uri=foo://bar", "http"),
    "dotted path to nothing": ("space.choices=['no_such.module:Mixer']", "no_such.module:Mixer", "importable"),
    "batch of nothing": ("target.batch=0", "target.batch=0", "a positive integer"),
}


def run(*arguments):
    """One line of complaint on standard error, code 2."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("nas: "), result.stderr
    assert "Traceback" not in result.stderr and result.stdout == ""
    return lines[0]


@pytest.mark.parametrize(("override", "key", "expected"), OVERRIDES.values(), ids=OVERRIDES.keys())
def test_configuration(tmp_path, override, key, expected):
    line = run("search", "--config", "smoke", "--out", tmp_path / "run", *TINY, override)
    assert key in line and "expected" in line and expected in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02" * 99, b"too short"], ids=["empty", "binary", "short"])
def test_text(tmp_path, content):
    file = tmp_path / "text"
    file.write_bytes(content)
    assert "text.paths" in run("search", "--config", "smoke", "--out", tmp_path / "run", *TINY, f"text.paths=[{file}]")
    assert not (tmp_path / "run").exists()


CONFIGS = {"list": "- a\n- b\n", "broken": "a: [b\n", "unknown key": "spaces: {}\n", "binary": "\x00"}


@pytest.mark.parametrize("content", CONFIGS.values(), ids=CONFIGS.keys())
def test_configuration_files(tmp_path, content):
    file = tmp_path / "config.yaml"
    file.write_text(content)
    run("search", "--config", file, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_configuration_file(tmp_path):
    assert "did you mean 'laptop'" in run("search", "--config", "labtop", "--out", tmp_path / "run")


def test_folder_that_exists(tmp_path):
    (tmp_path / "kept").write_text("mine")
    assert "--out" in run("search", "--config", "smoke", "--out", tmp_path, *TINY)
    assert (tmp_path / "kept").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "--out" in run("search", "--config", "smoke", "--out", tmp_path / "file", *TINY)


@pytest.mark.parametrize("command", ["resume", "status", "front", "export", "ui"])
def test_folder_without_a_search(tmp_path, command):
    assert "config.yaml" in run(command, tmp_path)


def test_folder_of_another_version(tmp_path):
    (tmp_path / "config.yaml").write_text("version: 0.0.1\nname: old\n")
    assert "0.0.1" in run("resume", tmp_path)
    (tmp_path / "config.yaml").write_text("version: 0.0.1\nsearch: {a_key_of_old: 1}\n")
    assert "0.0.1" in run("front", tmp_path)


def test_damaged_record(tmp_path):
    from nas.config import load

    (tmp_path / "config.yaml").write_text(load("smoke", TINY).to_yaml())
    (tmp_path / "runs.jsonl").write_text("not json\n")
    assert "runs.jsonl" in run("front", tmp_path)


@pytest.mark.parametrize("override", ["training.steps=9", "search.seed=100", "search={seed: 100}"])
def test_resume_refuses_what_would_not_be_comparable(tmp_path, override):
    from nas.config import load

    config = tmp_path / "config.yaml"
    config.write_text(load("smoke", TINY).to_yaml())
    before = config.read_text()
    line = run("resume", tmp_path, override)
    assert "training.steps=9" in line if "training" in override else "search.seed=100: expected 0" in line
    assert config.read_text() == before


@pytest.mark.parametrize(
    "content", ["", "layers: [gla]\nblocks: 3", "layers: [glaa]", "layers: []", "\x00"], ids=range(5)
)
def test_layouts(tmp_path, content):
    file = tmp_path / "layout.yaml"
    file.write_text(content)
    run("evaluate", file, "--config", "smoke", *TINY)


def test_missing_layout(tmp_path):
    run("evaluate", tmp_path / "none.yaml")


@pytest.mark.parametrize("arguments", [["serch"], ["front"], ["search", "--nope"], ["front", ".", "--format", "xml"]])
def test_command_lines(arguments):
    run(*arguments)


def test_unknown_exporter_and_pick(tmp_path):
    from nas.config import load

    (tmp_path / "config.yaml").write_text(load("smoke", TINY).to_yaml())
    assert "--format=onnx" in run("export", tmp_path, "--format", "onnx")
    assert "at least one layout" in run("export", tmp_path)


def test_a_package_in_the_current_folder_is_not_searched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lies_here.py").write_text("class Mine: pass")
    line = run("search", "--config", "smoke", *TINY, "space.choices=['lies_here:Mine', gla]")
    assert "No module named 'lies_here': the current folder is not searched" in line and "PYTHONPATH=." in line


def test_a_package_that_has_the_name_of_one_of_ours(tmp_path):
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("")
    path = os.pathsep.join((str(tmp_path), os.getcwd()))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "nas", "cost", "gla*24"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert done.returncode == 1 and done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert (
        done.stderr.startswith(f"nas: kernels={tmp_path}/kernels: expected") and "pip uninstall kernels" in done.stderr
    )


def test_no_traceback_from_the_shell():
    done = subprocess.run(
        [sys.executable, "-m", "nas", "search", "space.layers=0"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stderr == "nas: space.layers=0: expected a positive integer\n"
