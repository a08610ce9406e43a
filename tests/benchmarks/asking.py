"""What the search itself costs beside training: asking, telling, keeping the front, and reading a folder back.

Run as `python -m tests.benchmarks.asking [trials ...]`; writes tests/benchmarks/results/asking.md. Trials have 24
layers of 9 kinds, half of them drawn and half changed from the front, with recall as in tests/benchmarks/samplers.py;
a fifth of them has two seeds. Nothing is trained: outcomes come at once. Each row is a process of its own.
"""

import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from threading import Event

import numpy as np

from nas.config import load
from nas.config.settings import Config
from nas.results.folder import Folder
from nas.results.pareto import on_front
from nas.results.records import RunRecord
from nas.results.trials import TrialBook
from nas.search.controller import Controller
from nas.search.proposer import Proposer
from nas.search.setup import costs_of, make_job
from search_space.layouts.layout import Layout
from search_space.space.space import Space
from tests.benchmarks.samplers import NOISE, Problem
from workers.jobs import Job, Outcome
from workers.training import Result

RESULTS = Path(__file__).parent / "results" / "asking.md"
CHOICES = "attention, sliding_window, gla, hgrn, hgrn2, retnet, deltanet, gated_deltanet, gated_attention"
DEPTH, JOBS = 24, 20
TRIALS = (100, 500, 1000, 2000)
SAMPLERS = ("thompson", "tpe", "nsga2")
RUNS = 10_000
Costs = Callable[[Layout], dict[str, float]]
SCORED = ("recall", "state", "text")


def config(trials: int, sampler: str = "thompson") -> Config:
    """A search of twice `trials` trials that gives few further seeds, so that it asks."""
    return load(
        "laptop",
        [
            f"space.layers={DEPTH}",
            f"space.choices=[{CHOICES}]",
            f"search.trials={2 * trials}",
            "search.seconds=null",
            "search.published=false",
            "search.reseed_above=1.0",
            f"search.sampler={sampler}",
        ],
    )


def result(problem: Problem, layout: Layout, seed: int, rng: random.Random) -> Result:
    """A made-up run, with scores and curves as a real one has them."""
    recall = min(1.0, max(0.0, problem.recall(layout) + rng.gauss(0, NOISE)))
    names = ["train_loss", "recall", *(f"{kind}/{task}" for kind in ("recall", "loss") for task in SCORED)]
    scores = {f"{task}/{group}": rng.random() for task in SCORED for group in range(4)}
    return Result(
        seed=seed,
        steps=300,
        status="complete",
        recall=recall,
        accuracy={**scores, **dict.fromkeys(SCORED, recall)},
        loss={**scores, **dict.fromkeys(SCORED, 3 - recall)},
        curves={name: [(30 * i, rng.random()) for i in range(1, 11)] for name in names},
        seconds=3.0,
    )


def records(space: Space, problem: Problem, costs: Costs, trials: int) -> Iterator[RunRecord]:
    """The runs of a search of `trials` trials."""
    rng, elapsed = random.Random(0), 0.0
    recalls: dict[Layout, float] = {}
    parents: list[Layout] = []
    while len(recalls) < trials:
        layout = space.sample(rng)
        if parents and rng.random() < 0.5:
            values = dict(space.values(rng.choice(parents)) or {})
            for decision in rng.sample(space.decisions, 2):
                values[decision.name] = rng.choice(decision.choices)
            layout = space.layout(values)
        if layout in recalls:
            continue
        number = len(recalls)
        for seed in range(1 + (number % 5 == 0)):
            elapsed += 3.0
            run = result(problem, layout, seed, rng)
            recalls.setdefault(layout, run.recall)
            yield RunRecord(trial=number, origin=None, layout=layout, seed=seed, elapsed=elapsed, result=run)
        if number % 50 == 49:
            known = list(recalls)
            losses = np.array([(-recalls[each], np.log(costs(each)["decode_ms"])) for each in known])
            parents = [each for each, best in zip(known, on_front(losses), strict=True) if best]


class Timed(Proposer):
    """Keeps the seconds of CPU of what it is asked and told."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.asks, self.tells = [], []

    def propose(self, *arguments):
        begin = time.process_time()
        layout = super().propose(*arguments)
        self.asks.append(time.process_time() - begin)
        return layout

    def tell(self, *arguments):
        begin = time.process_time()
        super().tell(*arguments)
        self.tells.append(time.process_time() - begin)


class AtOnce:
    """A pool of one place whose jobs have ended when they are looked for; it ends the search after JOBS of them."""

    slots = 1

    def __init__(self, problem: Problem, most: int, stop: Event):
        self.problem, self.left, self.stop, self.rng = problem, most, stop, random.Random(1)
        self.jobs: list[Job] = []

    def submit(self, job: Job) -> None:
        """Takes a job."""
        self.jobs.append(job)

    def wait(self, timeout: float) -> list[Outcome]:
        """What became of it."""
        ended = [
            Outcome(job=job, results=tuple(result(self.problem, job.layout, seed, self.rng) for seed in job.seeds))
            for job in self.jobs
        ]
        self.jobs, self.left = [], self.left - len(ended)
        if self.left <= 0:
            self.stop.set()
        return ended

    def close(self) -> None:
        """Ends nothing."""


def asked(sampler: str, trials: int) -> str:
    """A row: a search of `trials` trials goes on for some jobs."""
    chosen = config(trials, sampler)
    space, problem, costs = Space(chosen.space, chosen.target), problem_of(chosen), costs_of(chosen)
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(path)
        stop = Event()
        pool = AtOnce(problem, JOBS, stop)
        proposer = Timed(space, chosen.search.objectives, costs, sampler, 0)
        book = TrialBook(costs)
        controller = Controller(
            chosen.search, folder, pool, proposer, book, lambda *job: make_job(chosen, *job), stop=stop
        )
        controller.replay(list(records(space, problem, costs, trials)))
        proposer.propose(controller._numbers)  # the first ask after a resume has more to do
        first, told = proposer.asks.pop(), len(proposer.tells)
        begin = time.process_time()
        controller.run()
        whole = time.process_time() - begin
    own = (whole - sum(proposer.asks)) / (len(proposer.tells) - told)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return (
        f"| {sampler} | {trials} | {first:.2f} | {np.mean(proposer.asks):.3f} | {np.max(proposer.asks):.3f} "
        f"| {own * 1e3:.1f} | {memory:.0f} |"
    )


def problem_of(chosen: Config) -> Problem:
    """Which of the simulated problems, in the space of the configuration."""
    problem = Problem(0, DEPTH)
    mixers, rng = chosen.space.choices, np.random.default_rng(0)
    problem.worth = {(m, i): rng.uniform(0, 0.5) + rng.normal(0, 0.1) for m in mixers for i in range(DEPTH)}
    problem.pair = {(a, b): rng.normal(0, 0.08) for a in mixers for b in mixers}
    return problem


def fill(path: Path) -> None:
    """Makes the folder of a search of RUNS runs."""
    chosen = config(RUNS)
    folder = Folder.create(path, chosen.to_yaml())
    space = Space(chosen.space, chosen.target)
    runs = records(space, problem_of(chosen), costs_of(chosen), RUNS)
    folder.append([next(runs) for _ in range(RUNS)])


def read(command: str, path: Path) -> str:
    """A row: a command reads a folder; seconds of the clock, of the CPU, and the most memory."""
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "nas", command, str(path)], stdout=subprocess.DEVNULL)
    _, code, used = os.wait4(process.pid, 0)
    assert code == 0
    clock = time.perf_counter() - begin
    return f"| {command} | {clock:.1f} | {used.ru_utime + used.ru_stime:.1f} | {used.ru_maxrss / 1e3:.0f} |"


def main() -> None:
    """Runs all, and writes the tables."""
    sizes = [int(argument) for argument in sys.argv[1:]] or TRIALS
    lines = [
        "# What the search costs beside training",
        "",
        f"Searches of {DEPTH} layers of 9 kinds that go on for {JOBS} jobs, which end at once; seconds of CPU, on one "
        f"thread. First: the first ask after a resume, at which the model is fitted; so it is once more whenever runs "
        f"have grown by a fifth, which the other columns leave out. Own: the controller's work for a finished job, in "
        f"ms. Made by `OMP_NUM_THREADS=1 python -m tests.benchmarks.asking` on "
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}.",
        "",
        "| sampler | trials | first ask, s | ask, s | longest ask, s | own, ms | memory, MB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for trials in sizes:
        for sampler in SAMPLERS:
            with get_context("spawn").Pool(1) as pool:
                lines.append(pool.apply(asked, (sampler, trials)))
            print(lines[-1], file=sys.stderr, flush=True)
    lines += ["", f"Commands that read a folder of {RUNS} runs; --help is the bare start.", ""]
    lines += ["| command | clock, s | CPU, s | memory, MB |", "| --- | --- | --- | --- |"]
    with tempfile.TemporaryDirectory() as path:
        with get_context("spawn").Pool(1) as pool:
            pool.apply(fill, (Path(path) / "run",))
        for command in ("--help", "status", "front"):
            lines.append(read(command, Path(path) / "run"))
            print(lines[-1], file=sys.stderr, flush=True)
    RESULTS.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
