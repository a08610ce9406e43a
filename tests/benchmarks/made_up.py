"""Made-up searches for the benchmarks of the search itself: nothing is trained.

Layouts have 24 layers of 9 kinds, half of them drawn and half changed from the front, with recall as in
tests/benchmarks/samplers.py; a fifth of them has two seeds.
"""

import random
import time
from collections.abc import Callable, Iterator

import numpy as np

from nas.config import load
from nas.config.settings import Config
from nas.results.pareto import on_front
from nas.results.records import RunRecord
from nas.search.proposer import Proposer
from search_space.layouts.layout import Layout
from search_space.space.space import Space
from tests.benchmarks.samplers import NOISE, Problem
from workers.training import Result

CHOICES = "attention, sliding_window, gla, hgrn, hgrn2, retnet, deltanet, gated_deltanet, gated_attention"
DEPTH = 24
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
    """Keeps the seconds of CPU of what it is asked and told by its thread, and those of the clock."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.asks, self.tells, self.clock = [], [], []

    def propose(self, *arguments):
        begin, clock = time.thread_time(), time.perf_counter()
        layout = super().propose(*arguments)
        self.asks.append(time.thread_time() - begin)
        self.clock.append(time.perf_counter() - clock)
        return layout

    def tell(self, *arguments):
        begin = time.thread_time()
        super().tell(*arguments)
        self.tells.append(time.thread_time() - begin)


def problem_of(chosen: Config) -> Problem:
    """Which of the simulated problems, in the space of the configuration."""
    problem = Problem(0, DEPTH)
    mixers, rng = chosen.space.choices, np.random.default_rng(0)
    problem.worth = {(m, i): rng.uniform(0, 0.5) + rng.normal(0, 0.1) for m in mixers for i in range(DEPTH)}
    problem.pair = {(a, b): rng.normal(0, 0.08) for a in mixers for b in mixers}
    return problem
