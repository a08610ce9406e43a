"""Decides what is trained next, and keeps the record."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import groupby

from nas.config.settings import Search
from nas.results.folder import Folder
from nas.results.records import Proposal, RunRecord, value_of
from nas.results.running import RunningJob, clear_running, write_running
from nas.results.standing import Standing
from nas.results.trials import Trial, TrialBook
from nas.search.ahead import Ahead
from nas.search.begun import Begun
from nas.search.losses import Choice, Losses
from nas.search.progress import Progress
from nas.search.proposer import Proposer
from search_space.cost.objectives import OBJECTIVES
from search_space.layouts.layout import Layout
from search_space.layouts.published import Origin
from workers.jobs import Job, Outcome
from workers.pool import Pool

QUEUE_SHARE = 1 / 8
"""Share of the budget after which published layouts wait until nothing is left to propose."""
AHEAD_FROM = 100
"""Layouts after which proposals are asked for ahead. Before, an ask takes a tenth of a second, and what it does not
know yet matters more: asked ahead, two at a time, simulated searches were worse after 40 layouts (a hypervolume of 2.24
instead of 2.35 over 8 problems, `python -m tests.benchmarks.asking quality`)."""
TICK = 0.05
"""Seconds after which it is looked again whether a proposal is ready that a free place waits for."""
CONFIRM_SHARE = 0.2
"""Share of the jobs that goes to further seeds of layouts that may be on the front..."""
CONFIRM_FROM = 0.85
"""...and share of the budget after which nothing else is done while such layouts lack seeds."""


class Controller:
    """The loop: propose, train, record, until the budget is spent.

    Args:
        make_job: (trial number, layout, seeds) -> the job to be run.
        queue: published layouts that are tried before anything is proposed.
        stop: ends the search when it is set; jobs under way are given up.
        on_job: called after every job that ended, with its trial, the trials that it brought on the front or off it,
            and what became of it.
        on_progress: called after every job, and about once a second in between.
    """

    def __init__(
        self,
        search: Search,
        folder: Folder,
        pool: Pool,
        proposer: Proposer,
        book: TrialBook,
        make_job: Callable[[int, Layout, tuple[int, ...]], Job],
        queue: Iterable[tuple[Layout, Origin]] = (),
        stop: threading.Event | None = None,
        on_job: Callable[[Trial, list[Trial], Outcome], None] = lambda trial, moved, outcome: None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ):
        self.search, self.folder, self.pool = search, folder, pool
        self.book, self.make_job = book, make_job
        self.stop, self.on_job, self.on_progress = stop or threading.Event(), on_job, on_progress
        self._queue = list(queue)
        self._objectives = {name: OBJECTIVES.get(name) for name in search.objectives}
        self._begun = Begun()
        self._ahead = Ahead(proposer, self._begun)
        self._used_up = self._waits = False
        self._standing = Standing(search.objectives)
        self._best = dict[str, float]()
        self._running: dict[tuple[Layout, tuple[int, ...]], tuple[Origin | None, RunningJob]] = {}
        self._losses = Losses()
        self._proposals: dict[Layout, Proposal] = {}
        self._known = 0
        self._durations: list[float] = []
        self._jobs = self._confirmations = 0
        self._known_before, self._elapsed_before = 0, 0.0
        self._moved: float | None = None
        self._started = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds spent searching, earlier sessions included."""
        return self._elapsed_before + time.monotonic() - self._started

    @property
    def progress(self) -> Progress:
        """Where the search is."""
        minutes = (self.elapsed - self._elapsed_before) / 60
        ended = self._known - self._known_before
        return Progress(
            trials=len(self._begun),
            running=len(self._running),
            on_front=len(self._standing.front),
            best=self._best,
            elapsed=self.elapsed,
            seconds=self.search.seconds,
            most_trials=self.search.trials,
            runs=self._known,
            rate=ended / minutes if ended else None,
            moved=self._moved,
            jobs=tuple(shown for _, shown in self._running.values()),
            front=tuple(self._standing.front),
        )

    @property
    def known(self) -> int:
        """Runs on record, lost ones too."""
        return self._known

    def replay(self, records: Iterable[RunRecord]) -> None:
        """Takes over what earlier sessions found."""
        lost: dict[Layout, Origin | None] = {}
        for (_, elapsed), job in groupby(records, lambda record: (record.trial, record.elapsed)):
            runs = list(job)
            first = runs[0]
            self._elapsed_before = elapsed
            if first.origin is None and first.layout not in self._begun:
                self._proposals[first.layout] = first.proposal or Proposal(self._known)
                self._ahead.answered(first.layout, self._proposals[first.layout])
            self._begun.begin(first.layout, first.trial)
            self._ask_ahead()
            if first.lost:
                self._known += len(runs)
                lost[first.layout] = first.origin
            else:
                self._count(runs)
                lost.pop(first.layout, None)
        self._known_before = self._known
        self._losses.waiting = list(lost.items())
        self._mark_front(self.book.trials)

    def run(self) -> bool:
        """Searches until the budget is spent or nothing is left to try; what ends is recorded at once.

        Returns:
            Whether it came to its end; it did not where it was stopped.
        """
        self._started = time.monotonic()
        self._ahead.go_on()
        try:
            return self._run()
        finally:
            self._ahead.close()
            clear_running(self.folder.path)

    def _run(self) -> bool:
        while not self.stop.is_set():
            submitted = len(self._running) < self.pool.slots and self._submit_next()
            if not self._running and not self._waits:
                return True
            for outcome in self._wait(submitted):
                self._finish(outcome)
            self.on_progress(self.progress)
        return False

    def _wait(self, submitted: bool) -> list[Outcome]:
        """Jobs that ended; looks for a second at most, less if there is something to be submitted."""
        if submitted or not self._waits:
            return self.pool.wait(timeout=0.0 if submitted else 1.0)
        if not self._running:
            self._ahead.wait(1.0)
            return []
        until = time.monotonic() + 1.0
        ended: list[Outcome] = []
        while not ended and not self._ahead.ready and time.monotonic() < until:
            ended = self.pool.wait(timeout=TICK)
        return ended

    def _submit_next(self) -> bool:
        self._waits = False
        if self._time_is_up():
            return False
        chosen = self._lost() or self._next_queued() or self._confirm() or self._propose()
        if self._waits:
            return False
        chosen = chosen or self._next_queued(anyway=True) or self._confirm(anyway=True)
        if chosen is None:
            return False
        layout, origin = chosen
        self._begun.begin(layout, self._ahead.free_number)
        number = self._begun.number(layout)
        job = self.make_job(number, layout, tuple(self._seeds_left(layout)[: self.search.seeds_per_job]))
        shown = RunningJob(trial=number, layout=str(layout), seeds=job.seeds, since=time.time())
        self._running[layout, job.seeds] = (origin, shown)
        self.pool.submit(job)
        self._ask_ahead()
        self._show()
        return True

    def _show(self) -> None:
        write_running(self.folder.path, [shown for _, shown in self._running.values()])

    def _time_is_up(self) -> bool:
        if self.search.seconds is None:
            return False
        expected = max(self._durations[-8:], default=0.0)
        return self.elapsed + expected > self.search.seconds

    def _lost(self) -> Choice | None:
        while self._losses.waiting:
            layout, origin = self._losses.waiting.pop(0)
            if self._seeds_left(layout):
                return layout, origin
        return None

    def _next_queued(self, anyway: bool = False) -> Choice | None:
        if not anyway and self.progress.spent >= QUEUE_SHARE:
            return None
        while self._queue and not self._out_of_trials():
            layout, origin = self._queue.pop(0)
            if layout not in self._begun:
                return layout, origin
        return None

    def _propose(self) -> Choice | None:
        """A layout that was proposed; where there will be one, but is none yet, it is waited for."""
        while self._ahead or self._may_ask():
            if not self._ahead:
                self._ahead.ask(self._known)
            if not self._ahead.ready:
                self._waits = True
                return None
            layout, number, proposal = self._ahead.take()
            self._used_up |= layout is None
            if layout is not None and layout not in self._begun:
                self._proposals[layout] = proposal
                self._begun.begin(layout, number)
                return layout, None
        return None

    def _may_ask(self) -> bool:
        return not self._used_up and not self._out_of_trials()

    def _ask_ahead(self) -> None:
        """Asks for as many proposals as there are places, once it is time for that and fewer than that are queued."""
        if len(self._begun) < AHEAD_FROM:
            return
        queued = sum(layout not in self._begun for layout, _ in self._queue)
        if queued < self.pool.slots or self.progress.spent >= QUEUE_SHARE:
            while len(self._ahead) < self.pool.slots and self._may_ask():
                self._ahead.ask(self._known)

    def _out_of_trials(self) -> bool:
        return self.search.trials is not None and len(self._begun) + len(self._ahead) >= self.search.trials

    def _confirm(self, anyway: bool = False) -> Choice | None:
        """Further seeds for the layout whose place on the front is least settled, if it is time for them."""
        due = self._confirmations < CONFIRM_SHARE * self._jobs or self.progress.spent >= CONFIRM_FROM
        if not (due or anyway):
            return None
        candidates = [
            (trial.confidence / (1 + self.search.seeds - left), trial)
            for trial in self._standing.likely(self.search.reseed_above)
            if (left := len(self._seeds_left(trial.layout)))
        ]
        if not candidates:
            return None
        _, trial = max(candidates, key=lambda c: (c[0], -c[1].number))
        return trial.layout, trial.origin

    def _seeds_left(self, layout: Layout) -> list[int]:
        """Seeds that the layout may still be trained with.

        A layout has `search.seeds` runs in all. Those under way count, and so do those that failed: each of them
        takes one of the seeds, the lowest first, so that a seed on which a run failed is not tried again. Runs that
        were lost with the place where they ran do not count.
        """
        trial = self.book.get(layout)
        used = {seed for running, seeds in self._running if running == layout for seed in seeds}
        used |= set(trial.seeds if trial else ())
        runs = len(used) + len(trial.failures if trial else ())
        first = self.search.seed
        unused = [seed for seed in range(first, first + self.search.seeds) if seed not in used]
        return unused[len(unused) - max(0, self.search.seeds - runs) :]

    def _finish(self, outcome: Outcome) -> None:
        origin, _ = self._running.pop((outcome.job.layout, outcome.job.seeds))
        outcome = self._losses.judge(outcome)
        records = self._records(outcome, origin)
        self.folder.append(records)
        self._show()
        if outcome.lost:
            self._known += len(records)
            self._losses.add(outcome, origin)
            return
        trial = self._count(records)
        moved = self._mark_front([trial])
        if moved:
            self._moved = self.elapsed
        self.on_job(trial, moved, outcome)

    def _mark_front(self, changed: list[Trial]) -> list[Trial]:
        """Takes changed trials into account; returns the trials that came on the front or left it."""
        moved = self._standing.update(changed)
        front = self._standing.front  # which holds the best in each objective
        self._best = {
            name: (max if objective.better == "high" else min)(t.value(name) for t in front)
            for name, objective in self._objectives.items()
            if front
        }
        return moved

    def _records(self, outcome: Outcome, origin: Origin | None) -> list[RunRecord]:
        layout = outcome.job.layout
        first, *others = RunRecord.of(outcome, origin, self.elapsed, self.search.objectives)
        if self.book.get(layout) is None:
            first = replace(first, proposal=self._proposals.get(layout))
        return [first, *others]

    def _count(self, records: list[RunRecord]) -> Trial:
        """Takes the runs of a job into account, a new one or one of an earlier session."""
        layout = records[0].layout
        self._known += len(records)
        self._jobs += 1
        self._confirmations += self.book.get(layout) is not None
        results = [record.result for record in records if record.result is not None]
        if results:
            self._durations.append(sum(result.seconds for result in results))
        for record in records:
            trial = self.book.add(record)
            self._ahead.tell(layout, self._values(record, trial))
        return trial

    def _values(self, record: RunRecord, trial: Trial) -> dict[str, float] | None:
        """What a run says of each objective of the search; None of a run that ended with an error."""
        result = record.result
        if result is None:
            return None
        return {
            name: trial.costs[name] if name in trial.costs else value_of(name, objective, result)
            for name, objective in self._objectives.items()
        }
