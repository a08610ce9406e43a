"""Failures of a layout and failures of a place; and a search that is interrupted goes on as the same search."""

import json
import re
import threading
from collections import deque
from importlib import import_module

import pytest

import nas as front_door
from nas.config import load
from nas.config.settings import Search
from nas.results.folder import Folder
from nas.results.reading import LineReader
from nas.results.running import read_running
from nas.results.trials import TrialBook
from nas.search import controller as controlling
from nas.search.controller import Controller
from nas.search.proposer import Proposer
from nas.search.samplers import SAMPLERS
from search_space.cost.target import Target
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.space.constraints import Constraints
from search_space.space.space import Space, SpaceConfig
from tests.nas.conftest import QUIET, nas
from workers.errors import WorkersLost
from workers.jobs import Job, Outcome
from workers.pools import open_pool
from workers.training import Result

running = import_module("nas.search.run")  # `nas.search` itself is the function


class Pool:
    """Ends each job at once: with the faults that are listed for its trial, one after the other, then with results."""

    slots = 1

    def __init__(self, faults):
        self.faults, self.jobs, self.submitted = {t: list(f) for t, f in faults.items()}, deque(), []

    def submit(self, job):
        self.submitted.append((job.trial, job.seeds))
        self.jobs.append(job)

    def wait(self, timeout):
        job = self.jobs.popleft()
        if self.faults.get(job.trial):
            return [Outcome(job=job, error="gone", fault=self.faults[job.trial].pop(0))]
        return [
            Outcome(job=job, results=tuple(Result(seed=s, steps=1, status="complete", recall=0.5) for s in job.seeds))
        ]


class Longer:
    """Proposes gla layouts of one layer more each time."""

    def propose(self, taken, number):
        return Layout((Block("gla"),) * (number + 1))

    def noted(self, layout):
        return {}

    def tell(self, layout, values):
        pass

    def take_note(self, layout, noted):
        pass


@pytest.fixture
def controller(tmp_path):
    def make(faults, **search):
        def job(trial, layout, seeds):
            return Job(trial=trial, layout=layout, seeds=seeds, scale=None, training=None, tasks={})

        settings = Search(**{"seconds": None, "trials": 3, "seeds": 1, **search})
        book = TrialBook(lambda layout: {"decode_ms": float(len(layout.layers))})
        return Controller(settings, Folder(tmp_path), Pool(faults), Longer(), book, job)

    return make


def read(controller):
    return [LineReader(1).record(line) for line in controller.folder.runs.read_text().splitlines()]


@pytest.mark.parametrize("losses", [["worker"], ["worker", "worker"], ["time"], ["node"] * 9, ["time", "worker"]])
def test_a_place_that_fails_costs_no_seed(controller, losses):
    made = controller({1: losses})
    assert made.run()
    assert [(t.number, t.state, t.seeds, t.failures) for t in made.book.trials] == [
        (number, "complete", [0], []) for number in range(3)
    ]
    assert [(r.trial, r.lost) for r in read(made)] == [(0, False), *[(1, True)] * len(losses), (1, False), (2, False)]


@pytest.mark.parametrize(("fault", "tries"), [("worker", 3), ("time", 2)])
def test_in_the_end_the_layout_is_to_blame(controller, fault, tries):
    made = controller({1: [fault] * 99})
    assert made.run()
    failed = [r for r in read(made) if r.trial == 1]
    assert [r.failure.of for r in failed] == ["place"] * (tries - 1) + ["layout"]
    assert f"given up after {tries} tries: gone" in failed[-1].failure.error
    assert [t.state for t in made.book.trials] == ["complete", "failed", "complete"]


def test_what_was_known_when_it_was_asked_for_ahead(controller, monkeypatch):
    """Each but the first layout is asked for when the one before it has begun."""
    monkeypatch.setattr(controlling, "AHEAD_FROM", 0)
    made = controller({1: ["worker"]}, seeds=2, reseed_above=0.0)
    assert made.run()
    found = [(r.trial, r.proposal.known) for r in read(made) if r.proposal]
    assert found == [(0, 0), (1, 0), (1, 0), (2, 2)]


def test_an_error_of_the_layout_is_not_tried_again(controller):
    made = controller({1: ["layout"]})
    assert made.run() and made.pool.submitted == [(0, (0,)), (1, (0,)), (2, (0,))]


def test_what_was_lost_is_tried_again_on_resume(controller):
    first = controller({1: ["node"]})
    first.on_progress = lambda now: first.stop.set() if first.folder.runs.read_text().count("\n") == 2 else None
    assert not first.run()
    again = controller({})
    again.replay(read(first))
    assert again.run()
    assert again.pool.submitted[0] == (1, (0,)) and [t.number for t in again.book.trials] == [0, 1, 2]
    assert [t.seeds for t in again.book.trials] == [[0]] * 3


def test_a_trial_that_never_ended_leaves_its_number(controller):
    first = controller({})
    assert first.run()
    again = controller({}, trials=3)
    again.replay([r for r in read(first) if r.trial != 1])
    assert again.run() and again.pool.submitted == [(1, (0,))]


def test_what_was_known_is_on_record(controller):
    """With the first run of each layout; with what was lost too, as it may be the only one."""
    made = controller({1: ["worker"]}, seeds=2, reseed_above=0.0)
    assert made.run()
    found = [(r.trial, r.lost, r.proposal and r.proposal.known) for r in read(made)]
    assert found[:4] == [(0, False, 0), (0, False, None), (1, True, 2), (1, False, 2)]
    assert [known for _, _, known in found].count(None) == 3, "the second seeds"


def test_what_runs_is_shown(tmp_path, tiny):
    shown = []

    def look(now):
        if now.running:
            shown.append((nas("status", tmp_path / "run").stdout, read_running(tmp_path / "run")))

    config = load("smoke", [*tiny, *QUIET, "search.trials=2", "search.seeds=1"])
    front_door.search(config, out=tmp_path / "run", on_progress=look)
    text, (job,) = next((text, jobs) for text, jobs in shown if jobs)
    assert job.trial == 0 and job.seeds == (0,) and job.since > 0
    assert re.search(rf"^ +0 +0 +\d+ s  {re.escape(job.layout)}$", text, re.M)
    assert not (tmp_path / "run" / "running.json").exists()


def test_what_a_killed_search_left_is_not_shown(finished, tmp_path):
    (tmp_path / "config.yaml").write_text((finished / "config.yaml").read_text())
    (tmp_path / "running.json").write_text('[{"trial": 0, "layout": "gla", "seeds": [0], "since": 0.0}]')
    assert "trial 0" not in nas("status", tmp_path).stdout


FAULTY = [
    "space.layers=2",
    "space.choices=[faulty]",
    "space.blocks={faulty: {mixer: 'tests.workers.faulty:Faulty', how: HOW}}",
    "search.published=false",
    "search.trials=1",
    "search.seeds=1",
]


@pytest.mark.parametrize(("how", "lost", "why"), [("error", 0, "no such luck"), ("exit", 2, "given up after 3 tries")])
def test_a_search_in_which_every_run_failed(tmp_path, tiny, how, lost, why):
    folder = tmp_path / "run"
    faulty = [override.replace("HOW", how) for override in FAULTY]
    for command in (
        ["search", "--config", "smoke", "--out", folder, *tiny, *QUIET, *faulty],
        ["resume", "--trust", folder],
    ):
        result = nas(*command)
        assert result.exit_code == 1
        assert why in result.stderr.splitlines()[-1] and str(folder) in result.stderr.splitlines()[-1]
        assert [r.failure.of for r in Folder(folder).read()] == ["place"] * lost + ["layout"]
    status = nas("status", "--trust", folder).stdout
    assert "1 trials (0 complete, 0 diverged, 1 failed), 1 runs" in status
    assert (f"{lost} runs were lost" in status) == bool(lost)


def test_a_job_that_is_lost_once_costs_nothing(tmp_path, tiny):
    folder, mark = tmp_path / "run", tmp_path / "mark"
    faulty = [override.replace("HOW", f"exit, once: '{mark}'") for override in FAULTY]
    assert nas("search", "--config", "smoke", "--out", folder, *tiny, *QUIET, *faulty).exit_code == 0
    assert [r.lost for r in Folder(folder).read()] == [True, False]


class Gone:
    """A pool whose workers are lost at once."""

    slots = 1

    def submit(self, job):
        pass

    def wait(self, timeout):
        raise WorkersLost("Ray was lost 7 times in a row")

    def close(self):
        pass


def test_workers_that_cannot_be_had_again_end_the_search(tmp_path, tiny, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(running, "open_pool", lambda workers: Gone())
        result = nas("search", "--config", "smoke", "--out", folder, *tiny, *QUIET, "search.trials=2", "search.seeds=1")
    assert result.exit_code == 1 and result.stdout == ""
    line = result.stderr.splitlines()[-1]
    assert line == f"nas: Ray was lost 7 times in a row; `nas resume {folder}` goes on"
    assert not (folder / "running.json").exists()
    assert nas("resume", folder).exit_code == 0 and len(Folder(folder).read()) == 2


def test_what_libraries_print_is_kept_from_standard_output(tmp_path, tiny, monkeypatch):
    def noisy(workers):
        print("[raylet] noise")
        return open_pool(workers)

    monkeypatch.setattr(running, "open_pool", noisy)
    folder = tmp_path / "run"
    one = ["search.trials=1", "search.seeds=1"]
    for command in (
        ["search", "--config", "smoke", "--out", folder, *tiny, *QUIET, *one],
        ["resume", "--trust", folder],
    ):
        result = nas(*command)
        assert result.exit_code == 0 and "noise" in result.stderr and "noise" not in result.stdout


def test_an_interrupted_search_goes_on_as_the_same_search(tmp_path, tiny):
    config = load("smoke", [*tiny, *QUIET, "search.trials=10", "search.published=false", "training.steps=2"])
    whole = front_door.search(config, out=tmp_path / "whole")
    stop = threading.Event()
    runs = tmp_path / "cut" / "runs.jsonl"

    def interrupt(now):
        if runs.exists() and runs.read_text().count("\n") == 4:
            stop.set()

    front_door.search(config, out=tmp_path / "cut", stop=stop, on_progress=interrupt)
    assert len(runs.read_text().splitlines()) == 4
    cut = front_door.open(tmp_path / "cut").resume()

    def history(search):
        return [(r.trial, r.seed, r.layout, r.result.recall, r.proposal) for r in search.folder.read()]

    assert history(whole) == history(cut) and len(whole.trials) == 10


@pytest.mark.parametrize("sampler", SAMPLERS.names())
def test_proposals_follow_from_what_is_known(sampler):
    target = Target()
    config = SpaceConfig(
        layers=4, choices=["attention", "gla", "hgrn2", "hgrn"], constraints=Constraints(at_most={"attention": 1})
    )
    space = Space(config, target)
    told = []

    def score(layout):
        failed = len(str(layout)) % 7 == 0
        return None if failed else {"recall": sum(map(ord, str(layout))) % 97 / 97, "decode_ms": 1.0}

    def go_on(proposer, steps):
        for _ in range(steps):
            layout = proposer.propose([layout for layout, _, _ in told], len(told))
            told.append((layout, score(layout), json.loads(json.dumps(proposer.noted(layout)))))
            proposer.tell(layout, score(layout))

    def make():
        return Proposer(space, ["recall", "decode_ms"], lambda layout: {"decode_ms": 1.0}, sampler, seed=5)

    go_on(make(), 26)
    whole = list(told)
    del told[21:]
    resumed = make()
    for each in told:
        layout, scores, noted = each
        resumed.take_note(layout, noted)
        resumed.tell(layout, scores)
    go_on(resumed, 5)
    assert [layout for layout, _, _ in told] == [layout for layout, _, _ in whole]
