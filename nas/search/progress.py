"""How far a search is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nas.results.running import RunningJob
from nas.results.trials import Trial


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
        runs: that ended, in earlier sessions too.
        rate: runs that end in a minute, in this session.
        moved: `elapsed` when a layout last came on the front or left it, in this session.
        jobs: what is under way.
        front: the trials on the front, in no order.
    """

    trials: int
    running: int
    on_front: int
    best: Mapping[str, float]
    elapsed: float
    seconds: float | None
    most_trials: int | None
    runs: int = 0
    rate: float | None = None
    moved: float | None = None
    jobs: tuple[RunningJob, ...] = ()
    front: tuple[Trial, ...] = ()

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

    def to_dict(self) -> dict[str, Any]:
        """Its numbers as plain data, without jobs and front."""
        return {**{k: v for k, v in vars(self).items() if k not in ("jobs", "front")}, "best": dict(self.best)}
