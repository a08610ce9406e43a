"""Sections of tests/benchmarks/asking.py: do workers wait for proposals, and what does it cost to ask ahead of time?"""

import math
import random
import tempfile
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from threading import Event

import numpy as np
import optuna

from nas.results.folder import Folder
from nas.results.pareto import hypervolume, on_front
from nas.results.trials import TrialBook
from nas.search.controller import Controller
from nas.search.proposer import Proposer
from nas.search.setup import costs_of, make_job
from search_space.layouts.layout import Layout
from search_space.space.space import Space
from tests.benchmarks import made_up, samplers
from workers.jobs import Job, Outcome

PLACES, SECONDS, JOBS = 2, 2.0, 40
DEPTH, LAYOUTS = 12, (40, 160)


class Places:
    """A pool whose jobs last SECONDS each, and end together where they were begun together: the worst case.

    Attributes:
        idle: seconds for which a place had no job, each time.
    """

    slots = PLACES

    def __init__(self, problem: samplers.Problem, stop: Event):
        self.problem, self.stop, self.rng = problem, stop, random.Random(1)
        self.jobs: deque[tuple[float, Job]] = deque()
        self.free: deque[float] = deque()
        self.idle: list[float] = []

    def submit(self, job: Job) -> None:
        """Takes a job."""
        now = time.monotonic()
        if self.free:
            self.idle.append(now - self.free.popleft())
        self.jobs.append((now + SECONDS, job))

    def wait(self, timeout: float) -> list[Outcome]:
        """The jobs that ended."""
        until = time.monotonic() + timeout
        time.sleep(max(0.0, min(until, self.jobs[0][0] if self.jobs else until) - time.monotonic()))
        ended = []
        while self.jobs and self.jobs[0][0] <= time.monotonic():
            end, job = self.jobs.popleft()
            self.free.append(end)
            runs = tuple(made_up.result(self.problem, job.layout, seed, self.rng) for seed in job.seeds)
            ended.append(Outcome(job=job, results=runs))
        if len(self.idle) >= JOBS:
            self.stop.set()
        return ended


def waited(trials: int) -> str:
    """A row: a search of `trials` trials goes on for JOBS jobs; how long its places were idle between two jobs."""
    chosen = made_up.config(trials)
    space, problem, costs = Space(chosen.space, chosen.target), made_up.problem_of(chosen), costs_of(chosen)
    with tempfile.TemporaryDirectory() as path:
        stop = Event()
        pool = Places(problem, stop)
        proposer = made_up.Timed(space, chosen.search.objectives, costs, "thompson", 0)
        controller = Controller(
            chosen.search,
            Folder(path),
            pool,
            proposer,
            TrialBook(costs),
            lambda *job: make_job(chosen, *job),
            stop=stop,
        )
        controller.replay(list(made_up.records(space, problem, costs, trials)))
        controller.run()
    idle = np.array(pool.idle[PLACES:]) * 1e3  # at the beginning there is nothing ready
    return (
        f"| {trials} | {np.mean(proposer.clock):.2f} | {idle.mean():.0f} | {np.median(idle):.0f} | {idle.max():.0f} |"
    )


def searched(task: tuple[int, bool]) -> list[float]:
    """True hypervolume of the front that a simulated search reports after each of LAYOUTS.

    It is that of tests/benchmarks/samplers.py. Two layouts are trained at a time; those that follow are asked for
    before (or else after) these are told.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seed, ahead = task
    problem, noise = samplers.Problem(seed, DEPTH), random.Random(seed)
    proposer = Proposer(problem.space, ["recall", "decode_ms"], samplers.costs, "thompson", seed)
    seen: dict[Layout, float] = {}
    asked: list[Layout] = []
    found = []

    def ask() -> None:
        for _ in range(PLACES):
            layout = proposer.propose(asked, len(asked))
            assert layout is not None
            asked.append(layout)

    ask()
    while len(seen) < max(LAYOUTS):
        batch = asked[len(seen) : len(seen) + PLACES]
        if ahead:
            ask()
        for layout in batch:
            seen[layout] = min(1.0, max(0.0, problem.recall(layout) + noise.gauss(0, samplers.NOISE)))
            proposer.tell(layout, {"recall": seen[layout]})
        if not ahead:
            ask()
        if len(seen) in LAYOUTS:
            true = samplers.losses({layout: problem.recall(layout) for layout in seen})
            found.append(hypervolume(true[on_front(samplers.losses(seen))], samplers.REFERENCE))
    return found


def quality(seeds: int) -> list[str]:
    """Lines of a table: asked ahead and not, on the same problems."""
    with ProcessPoolExecutor(2) as pool:
        found = np.array(list(pool.map(searched, [(s, a) for s in range(seeds) for a in (False, True)])))
    lines = [
        "| layouts | asked after telling | asked ahead | difference, 95% interval | ahead is better |",
        "| --- | --- | --- | --- | --- |",
    ]
    for layouts, after, ahead in zip(LAYOUTS, found[::2].T, found[1::2].T, strict=True):
        difference = ahead - after
        half = 1.96 * difference.std(ddof=1) / math.sqrt(seeds)
        better = f"{int((difference > 0).sum())}/{seeds}"
        cells = f"{after.mean():.3f} | {ahead.mean():.3f} | {difference.mean():+.3f} ± {half:.3f} | {better}"
        lines.append(f"| {layouts} | {cells} |")
    return lines
