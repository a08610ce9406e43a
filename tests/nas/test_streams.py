"""Standard streams that are closed or full, a place that is gone, and surroundings that are nonsense."""

import os
import subprocess
import sys

import pytest

import nas
from nas.cli.bar import SearchBar
from nas.search.progress import Progress
from tests.nas.test_hostile import made

REPOSITORY = os.getcwd()


def run(script, folder, **changes):
    environment = {**os.environ, "PYTHONPATH": REPOSITORY, "NAS": f"{sys.executable} -m nas", **changes}
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.mark.parametrize("streams", ["2>&-", "<&- >&- 2>&-", "2> /dev/full"])
def test_bad_input_has_its_code_where_nobody_listens(tmp_path, streams):
    done = run(f"$NAS status nowhere {streams}", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    made(tmp_path / "run")
    done = run("$NAS front run --format csv 2>&-", tmp_path)
    assert done.returncode == 0 and "gla" in done.stdout


def test_a_folder_that_is_gone(tmp_path):
    done = run("mkdir gone && cd gone && rmdir ../gone && $NAS published", tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "nas: working directory=.: expected a folder that is still there\n"


def test_progress_that_cannot_be_shown_ends_nothing(monkeypatch):
    class Full:
        encoding = "utf-8"

        def isatty(self):
            return False

        def write(self, text):
            raise OSError(28, "No space left on device")

        def flush(self):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    bar = SearchBar()
    bar(Progress(trials=1, running=1, on_front=0, best={}, elapsed=1.0, seconds=None, most_trials=2))
    bar.close()


def test_a_backend_that_is_not_there(tmp_path):
    made(tmp_path / "run")
    program = "import nas; from nas.results.front import write; found = nas.open('run', trust=True); "
    program += "write(found.trials, found.config, found.folder)"
    done = run(f'{sys.executable} -c "{program}"', tmp_path, MPLBACKEND="nonsense")
    assert done.returncode == 0, done.stderr
    assert nas.open(tmp_path / "run").folder.front_figure.exists()
