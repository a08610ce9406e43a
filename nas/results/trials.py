"""Trials: what is known of each layout from all its runs, and how sure that is."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from nas.results.folder import RunRecord
from nas.results.pareto import front_probability, on_front
from search_space.cost.objectives import EFFICIENCY
from search_space.layouts.layout import Layout
from workers.training import Result

PRIOR_SPREAD = 0.05
PRIOR_RUNS = 4
"""Seeds of a layout disagree by about this much before anything is known of the spread (as if from so many runs)."""


@dataclass
class Trial:
    """One layout under evaluation.

    Args:
        number: in the order of their first run.
        efficiency: objective name -> value at the target.
        results: of the runs that trained to their end.
        failures: what went wrong in the other runs.
        confidence: probability that the layout belongs on the front, given the spread over seeds.
    """

    number: int
    layout: Layout
    origin: str
    efficiency: dict[str, float]
    results: list[Result] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    confidence: float = 0.0
    on_front: bool = False

    @property
    def state(self) -> str:
        """ "complete", "diverged" (no seed trained to its end) or "failed" (every run ended with an error)."""
        if any(r.status == "complete" for r in self.results):
            return "complete"
        return "diverged" if self.results else "failed"

    @property
    def seeds(self) -> list[int]:
        """Seeds that it was trained with."""
        return [r.seed for r in self.results]

    @property
    def recall(self) -> float:
        """Mean over seeds; a run that diverged counts as 0."""
        return float(np.mean([r.recall for r in self.results])) if self.results else 0.0

    @property
    def spread(self) -> float | None:
        """Standard deviation of the recall over seeds; None for a single seed."""
        return float(np.std([r.recall for r in self.results], ddof=1)) if len(self.results) > 1 else None

    def mean(self, kind: str) -> dict[str, float]:
        """Mean over seeds of each "accuracy" or "loss" score."""
        scores = [getattr(r, kind) for r in self.results if getattr(r, kind)]
        return {name: float(np.mean([s[name] for s in scores])) for name in scores[0]} if scores else {}


def seed_spread(trials: list[Trial]) -> float:
    """Standard deviation between seeds of a layout, pooled over all trials, with the prior counted in."""
    squares, freedom = PRIOR_SPREAD**2 * PRIOR_RUNS, float(PRIOR_RUNS)
    for trial in trials:
        if len(trial.results) > 1:
            squares += (trial.spread or 0.0) ** 2 * (len(trial.results) - 1)
            freedom += len(trial.results) - 1
    return float(np.sqrt(squares / freedom))


def mark_front(trials: list[Trial], efficiency: str) -> list[Trial]:
    """Sets `on_front` and `confidence` of every trial; `efficiency` names the objective beside recall.

    Returns:
        The trials that came on the front or left it.
    """
    before = {t.number for t in trials if t.on_front}
    for trial in trials:
        trial.on_front, trial.confidence = False, 0.0
    known = [t for t in trials if t.state == "complete"]
    if known:
        sign = 1.0 if EFFICIENCY[efficiency].direction == "minimize" else -1.0
        cost = sign * np.array([t.efficiency[efficiency] for t in known])
        recall = np.array([t.recall for t in known])
        error = seed_spread(trials) / np.sqrt([len(t.results) for t in known])
        chances = front_probability(cost, recall, error)
        for trial, front, chance in zip(known, on_front(cost, recall), chances, strict=True):
            trial.on_front, trial.confidence = bool(front), float(chance)
    return [t for t in trials if t.on_front != (t.number in before)]


def front_of(trials: list[Trial], efficiency: str) -> list[Trial]:
    """The trials on the front, cheapest first."""
    return sorted((t for t in trials if t.on_front), key=lambda t: t.efficiency[efficiency])


class TrialBook:
    """All trials of a search, by layout.

    Args:
        efficiencies: objective -> value at the target, for a layout.
    """

    def __init__(self, efficiencies: Callable[[Layout], dict[str, float]]):
        self._efficiencies = efficiencies
        self._by_layout: dict[Layout, Trial] = {}

    @property
    def trials(self) -> list[Trial]:
        """In the order of their numbers."""
        return sorted(self._by_layout.values(), key=lambda t: t.number)

    def get(self, layout: Layout) -> Trial | None:
        """The trial of a layout."""
        return self._by_layout.get(layout)

    def add(self, record: RunRecord) -> Trial:
        """Counts a run in."""
        trial = self._by_layout.get(record.layout)
        if trial is None:
            trial = Trial(record.trial, record.layout, record.origin, self._efficiencies(record.layout))
            self._by_layout[record.layout] = trial
        if record.result is not None:
            trial.results.append(record.result)
        else:
            trial.failures.append(record.error or "")
        return trial
