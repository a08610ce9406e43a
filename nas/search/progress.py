"""How far a search is."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a search is; `on_progress` is called with one after every job, and about once a second in between.

    Args:
        trials: layouts that were begun.
        running: jobs under way.
        on_front: layouts on the front so far.
        best: objective -> its best value so far; empty before the first layout is trained to its end.
        elapsed: seconds spent, earlier sessions included.
        seconds: the budget of seconds; None without one.
        most_trials: the budget of layouts; None without one.
    """

    trials: int
    running: int
    on_front: int
    best: Mapping[str, float]
    elapsed: float
    seconds: float | None
    most_trials: int | None

    @property
    def seconds_left(self) -> float | None:
        """Seconds of the budget that are left; None without a limit."""
        return None if self.seconds is None else max(0.0, self.seconds - self.elapsed)

    @property
    def spent(self) -> float:
        """Share of the budget that is spent, in [0, 1]."""
        by_time = self.elapsed / self.seconds if self.seconds else 0.0
        by_trials = self.trials / self.most_trials if self.most_trials else 0.0
        return min(1.0, max(by_time, by_trials))
