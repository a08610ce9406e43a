"""A disk that takes no more: one line says so, what was recorded stays readable, and nothing is left half written."""

import errno
import os
import subprocess
import sys

import pytest

import nas
from nas.results import folder as folders
from nas.results import front
from search_space.files import write_text
from tests.conftest import TINY
from tests.nas.test_hostile import made

LIMITED = (
    "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2); sys.argv[1:2] = []; "
)
LIMITED += "from nas.cli import main; main()"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "file"
    write_text(file, "old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        write_text(file, "new")
    assert file.read_text() == "old" and os.listdir(tmp_path) == ["file"]


def test_a_link_stays_one(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_text(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_text() == "text"


def test_a_front_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    found = nas.open(made(tmp_path / "run"))
    front.write(found.trials, found.config, found.folder)
    before = found.folder.front_figure.read_bytes()

    def cut(records, path, **_):
        path.write_text("<svg")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(front, "draw_front", cut)
    with pytest.raises(OSError, match="No space left on device"):
        front.write(found.trials, found.config, found.folder)
    assert found.folder.front_figure.read_bytes() == before and not list(found.path.glob(".*new"))


def test_a_record_that_is_cut_off_is_taken_back(tmp_path, monkeypatch):
    found = nas.open(made(tmp_path / "run")).folder
    records, before = found.read(), found.runs.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folders.os, "fsync", full)
    with pytest.raises(OSError, match=r"runs\.jsonl"):
        found.append(records[:1])
    assert found.runs.read_bytes() == before


def test_a_search_on_a_full_disk_ends_with_a_line_and_goes_on_later(tmp_path):
    folder = tmp_path / "run"
    arguments = [
        "search",
        "--config",
        "smoke",
        "--out",
        str(folder),
        *TINY,
        "tracking.enabled=false",
        "search.trials=9",
    ]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "6000", *arguments], capture_output=True, text=True, check=False
    )
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and done.stdout == "" and "Traceback" not in done.stderr
    assert lines[-1].startswith(f"nas: {folder / 'runs.jsonl'}: ") and "nas resume" in lines[-1]
    found = nas.open(folder)
    assert 1 <= len(found.trials) < 9 and os.path.getsize(found.folder.runs) <= 6000
    assert found.folder.runs.read_bytes().endswith(b"\n") and not list(folder.glob(".*new"))
    assert len(found.resume().trials) == 9


def test_mlflow_on_a_full_disk_says_so_in_a_line(tmp_path):
    script = """
import logging, resource, sys
from pathlib import Path
from tracking.store import Store
store = Store.locate(sys.argv[1])
client = store.connect()
experiment = store.experiment(client, "nas")
size = store.database.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
try:
    while True:
        client.create_run(experiment, tags={"a": "b" * 4000})
except Exception as error:
    print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout and done.stderr == ""
