import json
import shutil

import pytest

from nas.results.folder import Folder
from nas.results.trials import Trial
from nas.study.audit import choose, first_seed, ranked
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from tests.conftest import TINY
from tests.nas.conftest import nas
from workers.training import Result


def trial(number, recall):
    result = Result(seed=0, steps=8, status="complete", recall=recall)
    return Trial(number, Layout((Block("gla"),) * (number + 1)), None, {"decode_ms": 1.0}, [result])


def test_the_sample_is_mostly_from_the_better_half():
    chosen = choose(ranked([trial(i, i / 40) for i in range(40)], "recall"), 12)
    recalls = [t.value("recall") for t in chosen]
    assert len(chosen) == 12 and recalls == sorted(recalls, reverse=True) and recalls[0] == 39 / 40
    assert sum(r >= 0.5 for r in recalls) == 9
    assert len(choose([trial(i, 0.5) for i in range(5)], 16)) == 5


@pytest.mark.parametrize("began", [0, 1000])
def test_seeds_are_fresh_whatever_the_search_began_with(began):
    searched = {began, began + 1}
    first = first_seed(searched, ())
    assert first > max(searched)
    assert first_seed(searched, {first, first + 1}) == first, "an audit goes on with its own seeds"
    assert first_seed({*searched, first + 5}, {first, first + 1}) > first + 5, "unless the search has used them since"


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def test_an_audit_goes_on_where_it_stopped(copied):
    assert "audit" not in nas("front", copied).stdout
    first = nas("audit", copied, "--layouts", 5, "--seeds", 1)
    assert first.exit_code == 0, first.output
    assert "16 steps, 1 seeds" in first.stdout and len(first.stdout.splitlines()) == 7
    lines = (copied / "audit.jsonl").read_text().splitlines()
    with (copied / "audit.jsonl").open("a") as file:
        file.write('{"cut off')
    second = nas("audit", copied, "--layouts", 5, "--seeds", 2)
    assert second.exit_code == 0 and "2 seeds" in second.stdout
    again = (copied / "audit.jsonl").read_text().splitlines()
    assert again[:5] == lines and len(again) == 10
    assert "audit (16 steps" in nas("front", copied).stdout
    assert nas("front", copied, "--format", "json").stdout.startswith("{")


def test_seeds_of_an_audit_train_together(copied):
    assert nas("audit", copied, "--layouts", 4, "--seeds", 1).exit_code == 0
    config = copied / "config.yaml"
    config.write_text(config.read_text().replace("seeds_per_job: 1", "seeds_per_job: 2"))
    assert nas("audit", copied, "--layouts", 4, "--seeds", 3).exit_code == 0
    records = Folder(copied).read_audit()
    seeds = [sorted(r.result.seed for r in records if r.trial == trial) for trial in {r.trial for r in records}]
    assert len(seeds) == 4 and all(found == [1001, 1002, 1003] for found in seeds)


def test_bad_input(copied, tmp_path):
    assert nas("audit", tmp_path / "nowhere").exit_code == 2
    assert nas("audit", copied, "--layouts", 2).exit_code == 2
    (copied / "runs.jsonl").write_text("")
    result = nas("audit", copied)
    assert result.exit_code == 2 and "at least four" in result.stderr


OTHER = ["--config", "smoke", "name=wide", "proxy.width=32", *TINY[1:]]


def test_an_audit_by_other_proxies(copied):
    assert nas("audit", copied, "--layouts", 4, "--seeds", 1).exit_code == 0
    before = (copied / "audit.jsonl").read_bytes()
    first = nas("audit", copied, "--layouts", 5, "--seeds", 1, *OTHER, "space.layers=8")
    assert first.exit_code == 0, first.output
    assert "audit (wide: width 32, 8 layers, length 16, 8 steps, 1 seeds)" in first.stdout
    assert len(first.stdout.splitlines()) == 7 and (copied / "audit.jsonl").read_bytes() == before
    records = (copied / "audit-wide" / "runs.jsonl").read_text().splitlines()
    assert len(records) == 5 and all(len(json.loads(line)["layout"]["layers"]) == 8 for line in records)
    again = nas("audit", copied, "--layouts", 5, "--seeds", 2, *OTHER, "space.layers=8")
    assert again.exit_code == 0 and "2 seeds" in again.stdout
    now = (copied / "audit-wide" / "runs.jsonl").read_text().splitlines()
    assert now[:5] == records and len(now) == 10
    assert "wide" not in nas("front", copied).stdout, "the front shows audits by the search's own proxies"
    changed = nas("audit", copied, *OTHER, "proxy.heads=4")
    assert changed.exit_code == 2 and "proxy.heads=4: expected 2" in changed.stderr


def test_bad_input_of_an_audit_by_other_proxies(copied):
    for arguments, said in (
        (["--config", "none"], "--config=none"),
        (["--config", "smoke", "--longer", 2], "--longer"),
        (["proxy.width=32"], "--config"),
        (["--config", "smoke", "name=x", "proxy.width=7"], "proxy.heads"),
    ):
        result = nas("audit", copied, *arguments)
        assert result.exit_code == 2 and said in result.stderr and result.stderr.count("\n") == 1, result.output
    assert not list(copied.glob("audit*"))
