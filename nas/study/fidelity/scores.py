"""What the runs of a plan came to, and how far seeds differ."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from statistics import fmean

import numpy as np

from nas.results.records import RunRecord, value_of
from nas.study.fidelity.plan import TEXT, Plan, Run
from nas.study.ranking import taus
from search_space.cost.objectives import OBJECTIVES
from workers.training import Result

RECALL, LOSS = "recall", "hit_loss"
"""The scores that decide statements: those by recall, and those by loss, which is that of `HITS`."""
HITS = f"{TEXT}/ar_hit"
"""Tokens that complete a bigram seen earlier in the window. Trained models of different mixers differ mostly on these
(2312.04927, section 3.1); on the others, proxies of a short run differ by what they have not learned yet."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The results of the runs of a plan.

    Args:
        results: number of a run -> its results, one for each seed.
        failures: number of a run -> why it left none.
    """

    results: Mapping[int, list[Result]] = field(default_factory=dict)
    failures: Mapping[int, str] = field(default_factory=dict)

    @staticmethod
    def of(plan: Plan, records: Iterable[RunRecord]) -> "Scores":
        """Those among the runs on record that belong to the plan."""
        numbers = {run.proxy: run.number for run in plan.distinct}
        results: dict[int, list[Result]] = {}
        failures: dict[int, str] = {}
        for record in records:
            number = numbers.get(record.layout)
            if number is None:
                continue
            if record.result is not None:
                results.setdefault(number, []).append(record.result)
            elif not record.lost and record.failure is not None:
                failures[number] = record.failure.error.strip().splitlines()[-1]
        return Scores(results=results, failures={n: why for n, why in failures.items() if n not in results})

    def count(self, run: Run) -> int:
        """Seeds that a run was trained with."""
        return len(self.results.get(run.number, ()))

    def values(self, number: int, objective: str) -> list[float]:
        """What each seed of a run says of an objective; nothing where the suite has no text."""
        found = self.results.get(number, [])
        if objective == RECALL:
            return [value_of(RECALL, OBJECTIVES.get(RECALL), result) for result in found]
        if any(r.status != "diverged" and HITS not in r.loss for r in found):
            return []
        return [math.inf if r.status == "diverged" else r.loss[HITS] for r in found]

    def mean(self, run: Run, objective: str) -> float:
        """Mean over the seeds, in which more is better (a loss counts downwards); NaN where there is none."""
        found = self.values(run.number, objective)
        return (-1 if objective == LOSS else 1) * sum(found) / len(found) if found else math.nan

    def task(self, run: Run, name: str, by_loss: bool) -> float:
        """A single score, likewise: the loss at the end of the runs, or what a task adds to their recall, which is its
        mean over all evaluations."""
        results = self.results.get(run.number, ())
        found = [r.loss[name] for r in results if name in r.loss] if by_loss else list(_recalls(results, name))
        return (-1 if by_loss else 1) * sum(found) / len(found) if found else math.nan

    @cached_property
    def noise(self) -> dict[str, float | None]:
        """Objective -> standard deviation between seeds, pooled over the runs; None where no run has two seeds.

        Runs that diverged are left out: how far they fall says nothing of how far other seeds differ.
        """
        found: dict[str, float | None] = {}
        for objective in (RECALL, LOSS):
            squares, freedom = 0.0, 0
            for number, results in self.results.items():
                values = self.values(number, objective)
                pairs = zip(values, results, strict=False)
                sound = [value for value, result in pairs if result.status == "complete"]
                if len(sound) > 1:
                    squares += float(np.var(sound)) * len(sound)
                    freedom += len(sound) - 1
            found[objective] = math.sqrt(squares / freedom) if freedom else None
        return found

    def standard_error(self, a: Run, b: Run, objective: str) -> float:
        """Of the difference between two runs; 0 where the noise is not known."""
        noise = self.noise[objective] or 0.0
        return noise * math.sqrt(1 / max(1, self.count(a)) + 1 / max(1, self.count(b)))

    def verdict(self, a: Run, b: Run, objective: str) -> float:
        """1 where `a` did better than `b`, 0 where it did worse, 1/2 where they are less than a standard error apart;
        NaN where one of them has no result."""
        difference = self.mean(a, objective) - self.mean(b, objective)
        if math.isnan(difference):
            return difference
        if difference == 0 or abs(difference) < self.standard_error(a, b, objective):
            return 0.5
        return float(difference > 0)

    def agreement_between_seeds(self, runs: Iterable[Run]) -> float:
        """Kendall's tau-b of recall between two seeds of the same runs: the mean over all pairs of seeds; NaN where no
        three runs share two seeds."""
        numbers = [run.number for run in runs]
        by_seed: dict[int, dict[int, float]] = {}
        for number in numbers:
            for result, value in zip(self.results.get(number, ()), self.values(number, RECALL), strict=True):
                by_seed.setdefault(result.seed, {})[number] = value
        found = []
        for one, other in combinations(by_seed.values(), 2):
            both = [n for n in one if n in other]
            if len(both) > 2:
                found.append(float(taus(np.array([one[n] for n in both]), np.array([other[n] for n in both]))))
        defined = [tau for tau in found if not math.isnan(tau)]
        return sum(defined) / len(defined) if defined else math.nan


def _recalls(results: Iterable[Result], task: str) -> Iterator[float]:
    for result in results:
        curve = result.curves.get(f"{RECALL}/{task}", [])
        if curve:
            yield 0.0 if result.status == "diverged" else fmean(value for _, value in curve)


def at_one_ratio(runs: Iterable[Run]) -> list[list[Run]]:
    """Runs that differ in their mixer alone, at least three at a time.

    They have one kind of layer beside attention, and attention at the same places.
    """
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        kinds = [block.mixer.kind for block in run.proxy.layers]
        others = set(kinds) - {"attention"}
        if len(others) == 1 and others != {"sliding_window"}:
            groups.setdefault(tuple(kind == "attention" for kind in kinds), []).append(run)
    return [group for group in groups.values() if len({run.proxy for run in group}) > 2]
