"""Trials: what is known of each layout from all its runs, and how sure that is."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from nas.results.pareto import Array
from nas.results.records import Failure, RunRecord, value_of
from search_space.cost.objectives import OBJECTIVES, Objective
from search_space.layouts.layout import Layout
from search_space.layouts.published import Origin
from tracking.records import axes_of
from workers.training import Result

PRIOR_SPREAD = 0.05
"""Standard deviation between seeds that is assumed before any is measured, on the scale of the objective's losses."""
PRIOR_RUNS = 4
"""How many runs that assumption is worth: it fades as more runs are measured."""


@dataclass
class Trial:
    """One layout under evaluation.

    Args:
        number: in the order of their first run.
        layout: that is trained.
        origin: the published layout that it came from; None where the search proposed it.
        costs: cost objective -> value at the target.
        results: of the runs that were trained.
        failures: of the runs that were not.
        on_front: whether no other trial beats it.
        confidence: probability that it belongs on the front, given how seeds differ.
    """

    number: int
    layout: Layout
    origin: Origin | None
    costs: dict[str, float]
    results: list[Result] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    on_front: bool = False
    confidence: float = 0.0
    _measured: dict[str, list[float]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _means: dict[str, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The published layout that it is, or "search"."""
        return "search" if self.origin is None else self.origin.name

    @property
    def design(self) -> Layout:
        """The layout that is priced and exported at the target's depth: a published one at its own depth."""
        return self.layout if self.origin is None else self.origin.layout

    @property
    def state(self) -> str:
        """ "complete", "diverged" (no seed trained to its end) or "failed" (no run left a result)."""
        for result in self.results:
            if result.status == "complete":
                return "complete"
        return "diverged" if self.results else "failed"

    @property
    def seeds(self) -> list[int]:
        """Seeds that it was trained with."""
        return [r.seed for r in self.results]

    def value(self, name: str) -> float:
        """An objective's value: a cost, or the mean over seeds of what is measured; NaN where no run left a result.

        Raises:
            InputError: the runs lack the objective.
        """
        if name in self.costs:
            return self.costs[name]
        if name not in self._means:
            known = self.measured(name)
            self._means[name] = sum(known) / len(known) if known else math.nan
        return self._means[name]

    def spread(self, name: str) -> float | None:
        """Standard deviation over seeds of a measured objective; None of a cost, or for a single seed."""
        if name in self.costs or len(self.results) < 2:
            return None
        return float(np.std(self.measured(name), ddof=1))

    def measured(self, name: str) -> list[float]:
        """What each of the results says of a measured objective.

        Raises:
            InputError: the runs lack the objective.
        """
        if name not in self._measured:
            objective = OBJECTIVES.get(name, key="search.objectives")
            self._measured[name] = [value_of(name, objective, result) for result in self.results]
        return self._measured[name]

    def add(self, record: RunRecord) -> None:
        """Counts a run in; what was worked out from the others is forgotten."""
        if record.result is not None:
            self.results.append(record.result)
        if record.failure is not None:
            self.failures.append(record.failure)
        self._measured.clear()
        self._means.clear()

    def mean(self, kind: str) -> dict[str, float]:
        """Mean over seeds of each "accuracy" or "loss" score."""
        scores = [getattr(r, kind) for r in self.results if getattr(r, kind)]
        return {name: float(np.mean([s[name] for s in scores])) for name in scores[0]} if scores else {}


class TrialBook:
    """All trials of a search, by layout.

    Args:
        costs: layout -> its cost objectives at the target; asked for a trial's `design`.
    """

    def __init__(self, costs: Callable[[Layout], dict[str, float]]):
        self._costs = costs
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
            trial = Trial(record.trial, record.layout, record.origin, {})
            trial.costs = self._costs(trial.design)
            self._by_layout[record.layout] = trial
        trial.add(record)
        return trial


def find_objectives(names: Iterable[str]) -> dict[str, Objective]:
    """Objectives by their names, in the same order.

    Raises:
        InputError: there is no such objective.
    """
    return {name: OBJECTIVES.get(name, key="search.objectives") for name in names}


def losses_of(trials: Sequence[Trial], objectives: Iterable[str]) -> Array:
    """Losses of P trials in M objectives, lower is better: [P, M]."""
    known = find_objectives(objectives)
    columns = [objective.losses([t.value(name) for t in trials]) for name, objective in known.items()]
    return np.stack(columns, axis=1)


def seed_squares(trial: Trial, name: str) -> tuple[float, int]:
    """How far the seeds of a trial differ in a measured objective, on the scale of the objective's losses.

    Runs that diverged are left out: how seldom they are, and how far they fall, says nothing of how far other seeds
    differ.

    Returns:
        The sum of squared deviations from their mean, and the degrees of freedom.
    """
    pairs = zip(trial.results, trial.measured(name), strict=True)
    values = [value for result, value in pairs if result.status == "complete"]
    losses = find_objectives([name])[name].losses(values)
    return (float(np.square(losses - losses.mean()).sum()), len(values) - 1) if values else (0.0, 0)


def seed_deviation(squares: float, freedom: float) -> float:
    """Standard deviation between seeds, from sums over trials of what `seed_squares` gives."""
    return math.sqrt((PRIOR_SPREAD**2 * PRIOR_RUNS + squares) / (PRIOR_RUNS + freedom))


def seed_spread(trials: Sequence[Trial], name: str) -> float:
    """Standard deviation between seeds of one layout in a measured objective, pooled over all trials."""
    found = [seed_squares(trial, name) for trial in trials if len(trial.results) > 1]
    return seed_deviation(math.fsum(s for s, _ in found), sum(f for _, f in found))


def seed_spreads(trials: Sequence[Trial], objectives: Sequence[str]) -> list[str]:
    """How far seeds of one layout differ in each measured objective, in words; of ratio scales nothing is said."""
    measured = {n: o for n, o in find_objectives(objectives).items() if o.measured and not o.ratio}
    return [f"{objective.show(seed_spread(trials, name))} in {name}" for name, objective in measured.items()]


def front_of(trials: Iterable[Trial], objectives: Sequence[str]) -> list[Trial]:
    """The trials on the front, best first in the first cost objective; where there is none, in the first objective."""
    return best_first([t for t in trials if t.on_front], objectives)


def best_first(trials: Sequence[Trial], objectives: Sequence[str]) -> list[Trial]:
    """The trials in the order of `front_of`; equals in the order of the other objectives."""
    first = axes_of(find_objectives(objectives))[0]
    names = [first, *(name for name in objectives if name != first)]
    order = np.lexsort(losses_of(trials, names).T[::-1])
    return [trials[i] for i in order]
