import math
import os
from dataclasses import replace

import pytest

import nas as front_door
from nas.config.settings import Search
from nas.search.dry import DryRun, _runs, dry_run
from nas.search.setup import check
from tests.conftest import TINY
from tests.nas.conftest import nas


def tiny(*more):
    return front_door.load("smoke", [*TINY, *more])


def test_it_says_what_the_space_and_a_run_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tiny("search.trials=7")
    found = dry_run(config)
    space = check(config)
    assert (found.layouts, found.blocks) == (space.size, len(space.blocks)) and found.published > 0
    assert found.seconds_a_run > 0 and found.slots == 1 and found.runs == 7 * config.search.seeds
    assert 2**26 < found.memory_bytes < 2**36 and not os.listdir(tmp_path)


def test_a_run_takes_as_many_bytes_as_it_says(finished):
    found = front_door.open(finished)
    lines = (finished / "runs.jsonl").read_text().splitlines()
    mean = sum(map(len, lines)) / len(lines)
    assert dry_run(found.config).disk_bytes == pytest.approx(mean, rel=0.35)


@pytest.mark.parametrize(
    "budget, slots, runs",
    [
        ({"trials": 5, "seconds": None}, 2, 15),
        ({"trials": 5, "seconds": 10.0}, 2, 10),
        ({"trials": None, "seconds": 10.0}, 4, 20),
        ({"trials": 5, "seconds": 10.0}, None, 15),
        ({"trials": None, "seconds": 10.0}, None, None),
    ],
)
def test_runs_that_fit(budget, slots, runs):
    assert _runs(replace(tiny(), search=Search(**budget)), 2.0, slots) == runs


def test_the_command(tmp_path):
    found = nas("search", "--dry-run", "--config", "smoke", "--out", tmp_path / "run", *TINY, "search.trials=7")
    assert found.exit_code == 0 and not (tmp_path / "run").exists()
    words = [line.split()[0] for line in found.stdout.splitlines()]
    assert words == ["space", "a", "runs", "memory", "disk"] and "about 14 fit the budget" in found.stdout
    refused = nas("search", "--dry-run", "space.choices=[mambo]")
    assert refused.exit_code == 2 and "space.choices=mambo" in refused.stderr


def test_a_cluster_is_not_asked(monkeypatch):
    made = DryRun(
        layouts=10**30, blocks=9, published=0, seconds_a_run=math.pi, slots=None, runs=None, memory_bytes=2**30,
        disk_bytes=5000,
    )  # fmt: skip
    monkeypatch.setattr(front_door, "dry_run", lambda config: made)
    found = nas("search", "--dry-run", "workers.address=auto", "search.trials=null")
    assert "as many at once as the cluster has room for" in found.stdout and "1.00e+30 layouts" in found.stdout
