"""What the command line adds to the front door: options, printing, and how commands end."""

import subprocess
import sys

import pytest

import nas as front_door
from tests.conftest import TINY
from tests.nas.conftest import QUIET, nas


def test_version():
    result = nas("--version")
    assert result.exit_code == 0 and result.stdout.startswith("nas") and front_door.__version__ in result.stdout


def test_catalogues():
    lines = nas("mixers").stdout.splitlines()
    assert all(any(line.split()[0] == row.name for line in lines) for row in front_door.mixers())
    one = nas("mixers", "gla").stdout
    assert "2312.06635" in one and "retnet" not in one
    assert "did you mean 'gla'" in nas("mixers", "gal").stderr
    published = nas("published").stdout
    assert all(each.name in published for each in front_door.published())


class Counting:
    """A format of one's own: how many layers."""

    suffix = "txt"

    def __call__(self, layout, target):
        return f"{target.layers}\n"


def test_a_format_of_ones_own_ends_files_as_it_says(finished, tmp_path):
    folder = tmp_path / "all"
    assert nas("export", finished, "--pick", "all", "--format", f"{__name__}:Counting", "-o", folder).exit_code == 0
    assert {p.suffix for p in folder.iterdir()} == {".txt"}


def test_all_layouts_do_not_go_into_a_folder_named_like_a_file(finished, tmp_path):
    result = nas("export", finished, "--pick", "all", "-o", tmp_path / "x.yaml")
    assert result.exit_code == 2 and result.stderr.startswith("nas: -o=") and len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_width_that_cannot_be_is_blamed_by_its_option(finished):
    result = nas("export", finished, "--width", 4097)
    assert result.exit_code == 2 and result.stderr.startswith("nas: --width=4097: expected")
    assert nas("export", finished, "--layers", -1).stderr.startswith("nas: --layers=-1: expected")


def test_progress_goes_to_standard_error(tmp_path):
    folder = tmp_path / "run"
    result = nas("search", "--config", "smoke", "--out", folder, *TINY, *QUIET, "search.trials=2", "search.seeds=1")
    assert "trials, front" in result.stderr and "trials, front" not in result.stdout
    assert result.stdout == nas("front", folder).stdout


@pytest.mark.parametrize("command", ["status", "front", "export"])
def test_reading_writes_nothing(finished, command):
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*")}
    assert nas(command, finished).exit_code == 0
    assert {p: p.stat().st_mtime_ns for p in finished.rglob("*")} == before


def test_help_of_every_command():
    done = subprocess.run([sys.executable, "-m", "nas", "--help"], capture_output=True, text=True, check=True)
    commands = ["search", "resume", "status", "front", "export", "ui", "evaluate", "audit", "mixers", "published"]
    assert all(f"  {command} " in done.stdout for command in commands)
