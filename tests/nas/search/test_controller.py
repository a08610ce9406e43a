"""What is trained next, with a pool and a proposer that only pretend."""

import threading
import time
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

    def take_note(self, layout, noted):
        pass

    def tell(self, layout, values):
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
    """Nor does anything else: a proposer that takes its time finds the first job on record."""
    made, proposer, _ = controller(slots=2, most=4, seeds=1)
    ended, waited, propose = threading.Event(), [], proposer.propose
    made.on_job = lambda *_: ended.set()

    def slow(taken, number):
        if taken:
            waited.append(ended.wait(timeout=20))
        return propose(taken, number)

    proposer.propose = slow
    assert made.run() and waited and all(waited)


def test_a_proposal_is_ready_when_a_place_gets_free(controller):
    made, _, log = controller(slots=1, most=4, seeds=1)
    wait = made.pool.wait

    def patient(timeout):
        deadline = time.monotonic() + 20
        while made.pool.jobs and log.count("propose") <= log.count("submit"):
            assert time.monotonic() < deadline, "it is asked for while the job runs"
            time.sleep(0.001)
        return wait(timeout)

    made.pool.wait = patient
    assert made.run() and log.count("submit") == 4


def test_as_many_proposals_are_ready_as_there_are_places(controller):
    made, _, log = controller(slots=3, most=99, trials=20, seeds=1)
    most = []
    made.on_progress = lambda now: most.append(len(made._ahead))
    assert made.run()
    assert max(most) == 3 and log.count("propose") == log.count("submit") == 20


def test_what_the_proposer_raises_ends_the_search(controller):
    made, proposer, _ = controller(slots=1, most=4, seeds=1)
    propose = proposer.propose
    proposer.propose = lambda taken, number: propose(taken, number) if len(taken) < 2 else 1 / 0
    with pytest.raises(ZeroDivisionError):
        made.run()
    assert len(made.folder.runs.read_text().splitlines()) == 2


def test_a_used_up_space_is_not_asked_again(controller):
    made, _, log = controller(slots=2, most=3, seeds=3, reseed_above=0.0)
    assert made.run()
    assert log.count("propose") == 3 + 1 and log.count("submit") == 9


def test_what_is_told(controller):
    """Once for every run, before the next proposal is asked for."""
    made, proposer, _ = controller(most=4, seeds=1, broken=[Layout((Block("gla"),) * 2)])
    assert made.run()
    assert proposer.told == [(1, {"recall": 0.5, "decode_ms": 1.0}), (2, None), (3, {"recall": 0.5, "decode_ms": 3.0})]


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
