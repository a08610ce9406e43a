"""How often judges order statements as they were published, with bootstrap intervals.

S statements, J judges. A verdict is 1 where a judge puts the better layout ahead, 0 where it puts it behind, 1/2 where
it has a tie.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

RESAMPLES = 2000
FEWEST_SOURCES = 4
"""With fewer sources than these, intervals come from drawing layouts alone."""


@dataclass(frozen=True)
class Share:
    """A share, or a difference of two, with its 95% bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class Agreement:
    """Statements of one axis, with what judges say of them.

    Args:
        sources: source of each statement, [S].
        a: the better layout of each, [S].
        b: the other one, [S].
        weights: of the statements within their source, [S].
        verdicts: [S, J].
    """

    sources: Sequence[str]
    a: Sequence[Hashable]
    b: Sequence[Hashable]
    weights: Sequence[float]
    verdicts: Array

    @cached_property
    def _members(self) -> dict[str, NDArray[np.intp]]:
        names = np.array(self.sources)
        return {name: np.flatnonzero(names == name) for name in dict.fromkeys(self.sources)}

    @property
    def source_names(self) -> list[str]:
        """The sources, in the order in which they come."""
        return list(self._members)

    @property
    def draws_sources(self) -> bool:
        """Whether intervals draw sources anew, or layouts alone since there are few sources."""
        return len(self._members) >= FEWEST_SOURCES

    @cached_property
    def by_source(self) -> Array:
        """Weighted share of statements that are ordered alike: sources by judges."""
        weights = np.asarray(self.weights, dtype=float)
        rows = [weights[m] @ self.verdicts[m] / weights[m].sum() for m in self._members.values()]
        return np.array(rows).reshape(len(rows), self.verdicts.shape[1])

    @cached_property
    def _draws(self) -> Array:
        """The judges' shares in each draw, [RESAMPLES, J]; the same draws for all judges."""
        random = np.random.default_rng(0)
        weights = np.asarray(self.weights, dtype=float)
        means = []
        for members in self._members.values():
            layouts = {
                layout: i for i, layout in enumerate(dict.fromkeys(x for m in members for x in (self.a[m], self.b[m])))
            }
            times = random.multinomial(len(layouts), [1 / len(layouts)] * len(layouts), size=RESAMPLES)
            a, b = ([layouts[side[m]] for m in members] for side in (self.a, self.b))
            drawn = weights[members] * times[:, a] * times[:, b]  # a pair comes as often as its layouts do
            total = drawn.sum(1)
            # Without any pair a draw says nothing of its source: another takes its place.
            able = np.flatnonzero(total)
            rows = np.where(total > 0, np.arange(RESAMPLES), random.choice(able, RESAMPLES))
            means.append((drawn @ self.verdicts[members])[rows] / total[rows, None])
        count = len(means)
        if not self.draws_sources:
            return np.mean(means, 0)
        sources = random.multinomial(count, [1 / count] * count, size=RESAMPLES)
        return np.einsum("rs,srj->rj", sources / count, np.stack(means))

    def share(self, judge: int) -> Share:
        """Share of the statements that a judge orders alike, each source weighing as much as any other."""
        return self._interval(self.by_source[:, judge], self._draws[:, judge])

    def difference(self, judge: int, other: int) -> Share:
        """What a judge's share is above another's."""
        difference = self._draws[:, judge] - self._draws[:, other]
        return self._interval(self.by_source[:, judge] - self.by_source[:, other], difference)

    @staticmethod
    def _interval(values: Array, draws: Array) -> Share:
        low, high = np.quantile(draws, [0.025, 0.975])
        return Share(float(values.mean()), float(low), float(high))
