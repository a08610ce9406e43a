"""What is trained next, with a pool and a proposer that only pretend."""

from collections import deque

import pytest

from nas.config.settings import Search
from nas.results.folder import Folder
from nas.results.reading import LineReader
from nas.results.trials import TrialBook
from nas.search.controller import Controller
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from workers.jobs import Job, Outcome
from workers.training import Result


class Pool:
    """Ends each job at once, or with an error if its layout is in `broken`."""

    def __init__(self, slots, log, broken=()):
        self.slots, self.log, self.broken, self.jobs = slots, log, broken, deque()

    def submit(self, job):
        self.log.append("submit")
        self.jobs.append(job)

    def wait(self, timeout):
        if not self.jobs:
            return []
        job = self.jobs.popleft()
        self.log.append("end" if timeout else "end at once")
        if job.layout in self.broken:
            return [Outcome(job=job, error="broken")]
        results = tuple(Result(seed=s, steps=1, status="complete", recall=0.5) for s in job.seeds)
        return [Outcome(job=job, results=results)]


class Proposer:
    """Proposes gla layouts of one layer more each time, up to `most`."""

    def __init__(self, most, log):
        self.most, self.log, self.told = most, log, []

    def propose(self, taken, number):
        self.log.append("propose")
        return None if len(taken) >= self.most else Layout((Block("gla"),) * (len(taken) + 1))

    def noted(self, layout):
        return {}

    def tell(self, layout, values, noted):
        self.told.append((len(layout.layers), values))


@pytest.fixture
def controller(tmp_path):
    def make(slots=1, most=3, broken=(), **search):
        log = []
        proposer = Proposer(most, log)
        settings = Search(**{"seconds": None, "trials": 99, **search})
        book = TrialBook(lambda layout: {"decode_ms": float(len(layout.layers))})

        def job(trial, layout, seeds):
            return Job(trial=trial, layout=layout, seeds=seeds, scale=None, training=None, tasks={})

        made = Controller(settings, Folder(tmp_path), Pool(slots, log, broken), proposer, book, job)
        return made, proposer, log

    return make


def test_jobs_that_ended_do_not_wait_for_more_proposals(controller):
    made, _, log = controller(slots=8, most=4, seeds=1)
    assert made.run()
    assert log[:6] == ["propose", "submit", "end at once"] * 2


def test_a_used_up_space_is_not_asked_again(controller):
    made, proposer, log = controller(slots=2, most=3, seeds=3, reseed_above=0.0)
    assert made.run()
    assert log.count("propose") == 3 + 1 and log.count("submit") == 9
    assert len(proposer.told) == 9, "once for every run"


def test_what_is_told(controller):
    made, proposer, _ = controller(most=2, seeds=1, broken=[Layout((Block("gla"),) * 2)])
    assert made.run()
    assert proposer.told == [(1, {"recall": 0.5, "decode_ms": 1.0}), (2, None)]


def test_no_layout_has_more_runs_than_seeds(controller):
    """Whatever they were numbered from, and whether they failed or not."""
    broken = Layout((Block("gla"),) * 2)
    first, _, _ = controller(most=2, seeds=2, reseed_above=0.0, broken=[broken])
    assert first.run()
    records = [LineReader(1).record(line) for line in first.folder.runs.read_text().splitlines()]
    assert len(records) == 4
    again, _, log = controller(most=2, seeds=2, reseed_above=0.0, seed=100)
    again.replay(records)
    assert again.run() and "submit" not in log
    more, _, _ = controller(most=2, seeds=3, reseed_above=0.0)
    more.replay(records)
    more.run()
    seeds = {t.layout: t.seeds for t in more.book.trials}
    assert seeds == {Layout((Block("gla"),)): [0, 1, 2], broken: [2]}, "a seed that failed is not tried again"


def test_a_stop_gives_up_what_runs(controller):
    made, _, log = controller(slots=1, most=50, seeds=1)
    made.on_progress = lambda now: made.stop.set() if now.trials == 2 else None
    assert not made.run() and log.count("submit") == 2
