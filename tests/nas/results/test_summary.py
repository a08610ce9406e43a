import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict

import pytest

import nas
from nas.results.folder import Folder
from nas.results.front import front_csv, front_json
from nas.results.front_table import front_table
from nas.results.summarising import KeptSummary
from nas.results.summary import SUMMARY, read_summary
from nas.results.table import Table
from tests.nas.examples import config, result, trial
from tests.nas.results.test_folder import run

TABLE = asdict(Table(heads=("a",)))


@pytest.fixture
def folder(tmp_path):
    made = Folder.create(tmp_path / "run", nas.load("smoke").to_yaml())
    made.append([run(0), run(1, result=result(1, 0.7))])
    return made


def test_a_reader_leaves_a_summary_for_the_next(folder):
    assert read_summary(folder.path) is None
    opened = nas.open(folder.path)
    made = opened.summary()
    assert read_summary(folder.path) == made and (made.runs, made.states["complete"]) == (2, 1)
    forms = {"json": front_json, "csv": front_csv}
    assert made.front == {form: write(opened.trials, opened.config) for form, write in forms.items()}
    assert made.table == front_table(opened.trials, opened.config) and made.table.rows
    status = opened.status()
    assert (status.runs, status.running, status.front) == (2, False, made.front)


def test_it_is_out_of_date_after_another_run(folder):
    nas.open(folder.path).summary()
    folder.append([run(3)])
    assert read_summary(folder.path) is None
    assert nas.open(folder.path).summary().runs == 3 and read_summary(folder.path).runs == 3


def test_it_is_out_of_date_in_another_configuration(folder):
    nas.open(folder.path).summary()
    folder.write_config(nas.load("smoke", ["target.batch=1"]).to_yaml())
    assert read_summary(folder.path) is None


def test_another_price_leaves_none(folder):
    nas.open(folder.path, ["target.batch=1"]).summary()
    assert not (folder.path / SUMMARY).exists()


def test_it_is_out_of_date_in_another_version(folder, monkeypatch):
    nas.open(folder.path).summary()
    monkeypatch.setattr("nas.results.summary.VERSION", "9.9")
    assert read_summary(folder.path) is None


@pytest.mark.parametrize(
    "change",
    [
        {"states": {"complete": "x"}},
        {"states": {"complete\x1b[2J": 1}},
        {"states": None},
        {"runs": 1.5},
        {"elapsed": "soon"},
        {"elapsed": 1e999},
        {"seconds": [1]},
        {"front": {"json": ""}},
        {"front": {"json": "\x1b]0;mine\x07", "csv": ""}},
        {"front": {"json": 3, "csv": ""}},
        {"table": None},
        {"table": []},
        {"table": {"heads": []}},
        {"table": dict(TABLE, above=["\x1b]0;mine\x07"])},
        {"table": dict(TABLE, below="text")},
        {"table": dict(TABLE, rows=[{"cells": [3], "text": "", "layers": []}])},
        {
            "table": dict(
                TABLE, rows=[dict(cells=["a"], text="", layers=[]), dict(cells=["a", "b"], text="", layers=[])]
            )
        },
        {"table": dict(TABLE, rows=[{"cells": ["a"], "text": "", "layers": ["\x1b[2J"]}])},
        {"table": dict(TABLE, words=["x"])},
        {"table": dict(TABLE, colours={"gla": 3})},
        {"further": 1},
        {"stamp": None},
        {"version": 3},
    ],
)
def test_a_damaged_one_is_made_anew(folder, change):
    made = nas.open(folder.path).summary()
    path = folder.path / SUMMARY
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert read_summary(folder.path) is None
    assert nas.open(folder.path).summary() == made == read_summary(folder.path)


@pytest.mark.parametrize("content", [b"\xff", b"[" * 100_000, b"3", b"{}", b""])
def test_one_that_is_no_json_is_made_anew(folder, content):
    (folder.path / SUMMARY).write_bytes(content)
    assert read_summary(folder.path) is None
    assert nas.open(folder.path).summary() == read_summary(folder.path)


def test_a_copy_is_read_anew(folder, tmp_path):
    nas.open(folder.path).summary()
    os.utime(shutil.copytree(folder.path, tmp_path / "copy") / "runs.jsonl")
    assert read_summary(tmp_path / "copy") is None


def test_a_search_keeps_it(tmp_path):
    folder = Folder.create(tmp_path / "run", "format: 1")
    kept = KeptSummary(config(), folder)
    kept.update([trial(0)], 1, 1.0)
    assert read_summary(folder.path).runs == 1
    kept.update([trial(0), trial(1)], 3, 2.0, at_once=True)
    found = read_summary(folder.path)
    assert (found.runs, found.lost, found.elapsed) == (2, 1, 2.0)


def test_a_search_spends_little_time_on_it(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("nas.results.summarising.time.monotonic", lambda: now[0])
    made = []

    def slow(*arguments):
        made.append(now[0])
        now[0] += 1.0

    monkeypatch.setattr("nas.results.summarising.summarise", slow)
    monkeypatch.setattr("nas.results.summarising.write_summary", lambda *arguments: None)
    kept = KeptSummary(config(), Folder(tmp_path))
    for known in range(100):
        kept.update([], known, 0.0)
        now[0] += 1.0
    assert made == [0.0, 21.0, 42.0, 63.0, 84.0]


LIGHT = """
import sys
from nas.cli import main
try:
    main(sys.argv[1:])
finally:
    print("torch" in sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize("command", ["status", "front"])
def test_reading_it_needs_no_torch(folder, command):
    said = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", LIGHT, command, str(folder.path)], capture_output=True, text=True, check=True
        )
        said.append((done.stdout, done.stderr))
    assert said[0][0] == said[1][0] and "trial" in said[1][0]
    assert (said[0][1], said[1][1]) == ("True\n", "False\n")
