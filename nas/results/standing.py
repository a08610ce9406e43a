"""Which trials are on the front, and how sure that is."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from nas.results.pareto import Array, front_probability, on_front
from nas.results.trials import Trial, find_objectives, losses_of, seed_deviation, seed_squares


class Standing:
    """The front of a search. What it holds of each trial is worked out anew only for trials that changed.

    Args:
        objectives: names of those that are traded, M.
    """

    def __init__(self, objectives: Sequence[str]):
        self._objectives = find_objectives(objectives)
        self._trials: list[Trial] = []
        self._rows: dict[int, int] = {}  # of the trials, by their identity
        self._losses, self._squares = np.empty((0, len(objectives))), np.empty((0, len(objectives)))
        self._freedom = np.empty((0, len(objectives)))
        self._numbers, self._runs = np.empty(0, int), np.empty(0)  # no runs: the trial is not complete
        self._on_front, self._confidence = np.empty(0, bool), np.empty(0)

    @property
    def front(self) -> list[Trial]:
        """The trials on the front."""
        return [self._trials[row] for row in np.flatnonzero(self._on_front)]

    def likely(self, probability: float) -> list[Trial]:
        """The trials that belong on it with at least this probability; those that are not complete have 0."""
        return [self._trials[row] for row in np.flatnonzero(self._confidence >= probability)]

    def update(self, changed: Iterable[Trial]) -> list[Trial]:
        """Takes in trials that are new or have new runs; sets `on_front` and `confidence` of all that it knows.

        Returns:
            The trials that came on the front or left it, in no order.
        """
        changed = list(changed)
        self._take_in(changed)
        known = np.flatnonzero(self._runs)
        front, confidence = np.zeros(len(self._trials), bool), np.zeros(len(self._trials))
        if len(known):
            losses = self._losses[known]
            # Sums that do not depend on an order, as a search that is resumed has another one.
            sums = [(math.fsum(a), math.fsum(b)) for a, b in zip(self._squares.T, self._freedom.T, strict=True)]
            measured = [o.measured for o in self._objectives.values()]
            spreads = [seed_deviation(*s) if m else 0.0 for s, m in zip(sums, measured, strict=True)]
            errors = np.array(spreads) / np.sqrt(self._runs[known, None])
            front[known] = on_front(losses)
            confidence[known] = front_probability(losses, errors, self._numbers[known])
        moved = np.flatnonzero(front != self._on_front)
        for row in np.flatnonzero((front != self._on_front) | (confidence != self._confidence)):
            self._trials[row].on_front, self._trials[row].confidence = bool(front[row]), float(confidence[row])
        self._on_front, self._confidence = front, confidence
        return [self._trials[row] for row in moved]

    def _take_in(self, changed: Sequence[Trial]) -> None:
        new = [trial for trial in changed if id(trial) not in self._rows]
        for trial in new:
            self._rows[id(trial)] = len(self._trials)
            self._trials.append(trial)
        for name in ("_losses", "_squares", "_freedom", "_numbers", "_runs", "_on_front", "_confidence"):
            setattr(self, name, _longer(getattr(self, name), len(self._trials)))
        for trial in new:
            self._numbers[self._rows[id(trial)]] = trial.number
        complete = [trial for trial in changed if trial.state == "complete"]
        rows = [self._rows[id(trial)] for trial in complete]
        if rows:
            self._losses[rows] = losses_of(complete, self._objectives)
            self._runs[rows] = [len(trial.results) for trial in complete]
        for place, (name, objective) in enumerate(self._objectives.items()):
            for row, trial in zip(rows, complete, strict=True):
                if objective.measured and len(trial.results) > 1:
                    self._squares[row, place], self._freedom[row, place] = seed_squares(trial, name)


def _longer(array: Array, length: int) -> Array:
    more = np.zeros((length - len(array), *array.shape[1:]), array.dtype)
    return np.concatenate([array, more]) if len(more) else array


def mark_front(trials: Sequence[Trial], objectives: Sequence[str]) -> list[Trial]:
    """Sets `on_front` and `confidence` of every trial, whatever they were.

    Returns:
        The trials that came on the front or left it.
    """
    before = [trial.on_front for trial in trials]
    for trial in trials:
        trial.on_front, trial.confidence = False, 0.0
    Standing(objectives).update(trials)
    return [trial for trial, was in zip(trials, before, strict=True) if trial.on_front != was]
