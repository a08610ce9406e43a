"""Runs a search: decides what is trained next, and keeps the record."""

import time
from collections.abc import Callable, Iterable
from itertools import groupby

from nas.config.settings import Search
from nas.results.folder import Folder, RunRecord
from nas.results.trials import Trial, TrialBook, mark_front
from nas.search.proposer import Proposer
from search_space.layouts.layout import Layout
from workers.jobs import Job, Outcome
from workers.pool import Pool

CONFIRM_SHARE = 0.2
"""Share of the jobs that goes to further seeds of layouts that may be on the front..."""
CONFIRM_FROM = 0.85
"""...and share of the budget after which nothing else is done while such layouts lack seeds."""


class Controller:
    """The loop: propose, train, record, until the budget is spent.

    Args:
        make_job: (trial number, layout, seeds) -> the job to be run.
        queue: (layout, origin) that are tried before anything is proposed.
        on_job: called after every job that ended, with its trial, the trials that it brought on the front or off it,
            and its error, if there was one.
    """

    def __init__(
        self,
        search: Search,
        folder: Folder,
        pool: Pool,
        proposer: Proposer,
        book: TrialBook,
        make_job: Callable[[int, Layout, tuple[int, ...]], Job],
        queue: Iterable[tuple[Layout, str]] = (),
        on_job: Callable[[Trial, list[Trial], str | None], None] = lambda trial, moved, error: None,
    ):
        self.search, self.folder, self.pool = search, folder, pool
        self.proposer, self.book, self.make_job, self.on_job = proposer, book, make_job, on_job
        self._queue = list(queue)
        self._running: dict[tuple[Layout, tuple[int, ...]], str] = {}
        self._numbers: dict[Layout, int] = {}
        self._durations: list[float] = []
        self._jobs = self._confirmations = 0
        self._elapsed_before = 0.0
        self._begin = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds spent searching, earlier sessions included."""
        return self._elapsed_before + time.monotonic() - self._begin

    @property
    def seconds_left(self) -> float | None:
        """Seconds of the budget that are left; None without a limit."""
        return None if self.search.seconds is None else max(0.0, self.search.seconds - self.elapsed)

    def replay(self, records: Iterable[RunRecord]) -> None:
        """Takes over what earlier sessions found."""
        for (_, elapsed), job in groupby(records, lambda record: (record.trial, record.elapsed)):
            self._count(list(job))
            self._elapsed_before = elapsed
        mark_front(self.book.trials, self.search.efficiency)

    def run(self) -> None:
        """Searches until the budget is spent or nothing is left to try; what ends is recorded at once."""
        self._begin = time.monotonic()
        while True:
            while len(self._running) < self.pool.slots and self._submit_next():
                pass
            if not self._running:
                return
            for outcome in self.pool.wait(timeout=1.0):
                self._finish(outcome)

    def _submit_next(self) -> bool:
        if self._time_is_up():
            return False
        chosen = self._next_queued() or self._confirm() or self._propose() or self._confirm(anyway=True)
        if chosen is None:
            return False
        layout, origin = chosen
        number = self._numbers.setdefault(layout, max(self._numbers.values(), default=-1) + 1)
        seeds = self._free_seeds(layout)[: self.search.together]
        job = self.make_job(number, layout, tuple(self.search.seed + seed for seed in seeds))
        self._running[layout, job.seeds] = origin
        self.pool.submit(job)
        return True

    def _time_is_up(self) -> bool:
        if self.search.seconds is None:
            return False
        expected = max(self._durations[-8:], default=0.0)
        return self.elapsed + expected > self.search.seconds

    def _spent(self) -> float:
        """Share of the budget spent, in [0, 1]."""
        by_trials = len(self._numbers) / self.search.trials if self.search.trials else 0.0
        by_time = self.elapsed / self.search.seconds if self.search.seconds else 0.0
        return min(1.0, max(by_trials, by_time))

    def _next_queued(self) -> tuple[Layout, str] | None:
        while self._queue and not self._out_of_trials():
            layout, origin = self._queue.pop(0)
            if layout not in self._numbers:
                return layout, origin
        return None

    def _propose(self) -> tuple[Layout, str] | None:
        if self._out_of_trials() or self.search.queue == "study":
            return None
        layout = self.proposer.propose(self._numbers)
        return None if layout is None else (layout, "search")

    def _out_of_trials(self) -> bool:
        return self.search.trials is not None and len(self._numbers) >= self.search.trials

    def _confirm(self, anyway: bool = False) -> tuple[Layout, str] | None:
        """Further seeds for the layout whose place on the front is least settled, if it is time for them."""
        due = self._confirmations < CONFIRM_SHARE * self._jobs or self._spent() >= CONFIRM_FROM
        if not (due or anyway):
            return None
        free = {t.number: len(self._free_seeds(t.layout)) for t in self.book.trials}
        candidates = [
            (trial.confidence / (1 + self.search.seeds - free[trial.number]), trial)
            for trial in self.book.trials
            if trial.confidence >= self.search.doubt and free[trial.number]
        ]
        if not candidates:
            return None
        _, trial = max(candidates, key=lambda c: (c[0], -c[1].number))
        return trial.layout, trial.origin

    def _free_seeds(self, layout: Layout) -> list[int]:
        """Seeds, counted from 0, that a layout was not trained with and is not being trained with."""
        trial = self.book.get(layout)
        begun = {seed - self.search.seed for running, seeds in self._running for seed in seeds if running == layout}
        if trial is not None:
            begun |= {result.seed - self.search.seed for result in trial.results}
        free = [seed for seed in range(self.search.seeds) if seed not in begun]
        # A run that failed left no seed behind, so that the first ones stand for these.
        return free[len(trial.failures) if trial else 0 :]

    def _finish(self, outcome: Outcome) -> None:
        origin = self._running.pop((outcome.job.layout, outcome.job.seeds))
        records = RunRecord.of(outcome, origin, self.elapsed)
        self.folder.append(records)
        trial = self._count(records)
        moved = mark_front(self.book.trials, self.search.efficiency)
        self.on_job(trial, moved, outcome.error)

    def _count(self, records: list[RunRecord]) -> Trial:
        """Takes the runs of a job into account, a new one or one of an earlier session."""
        layout = records[0].layout
        self._numbers.setdefault(layout, records[0].trial)
        self._jobs += 1
        self._confirmations += self.book.get(layout) is not None
        results = [record.result for record in records if record.result is not None]
        if results:
            self._durations.append(sum(result.seconds for result in results))
        for record in records:
            trial = self.book.add(record)
            self.proposer.tell(layout, None if record.result is None else record.result.recall)
        return trial
