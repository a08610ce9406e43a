"""Trains and scores one layout, in this process and without Ray."""

import logging
from dataclasses import asdict, dataclass
from typing import Any

from nas.config import Config
from nas.results.records import value_of
from nas.search.setup import check_layout, costs_of, make_job
from search_space.checks import instance, positive
from search_space.cost.cost import Cost, cost
from search_space.cost.objectives import OBJECTIVES
from search_space.layouts.layout import Layout
from workers.jobs import run_job
from workers.training import Result

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a layout scored and costs.

    Args:
        layout: that was trained.
        objectives: objective of the search -> value; of measured ones the mean over the runs.
        cost: at the target.
        runs: one for each seed.
    """

    layout: Layout
    objectives: dict[str, float]
    cost: Cost
    runs: tuple[Result, ...]

    @property
    def recall(self) -> float:
        """Mean over the runs, in [0, 1]."""
        return sum(run.recall for run in self.runs) / len(self.runs)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "layout": self.layout.to_dict(),
            "recall": self.recall,
            "objectives": self.objectives,
            "cost": {**asdict(self.cost), "cache_bytes": self.cost.cache_bytes},
            "runs": [asdict(run) for run in self.runs],
        }


def as_layout(layout: Layout | str) -> Layout:
    """The layout, or the one that the short notation stands for; raises InputError for anything else."""
    if isinstance(layout, str):
        return Layout.parse(layout)
    return instance("layout", layout, Layout, "a nas.Layout, or a layout in short")


def evaluate(config: Config, layout: Layout, seeds: int = 1) -> Evaluation:
    """Trains `layout` as a search with `config` would, with its first `seeds` seeds, one after the other.

    Raises:
        InputError: the layout or the configuration cannot be used.
        RuntimeError: a run failed.
    """
    positive("seeds", seeds)
    check_layout(config, config.suite(), layout)
    price, values = cost(layout, config.target), costs_of(config)(layout)
    runs: list[Result] = []
    for seed in range(config.search.seed, config.search.seed + seeds):
        logger.info("training %s with seed %d ...", layout, seed)
        outcome = run_job(make_job(config, 0, layout, (seed,)))
        if outcome.error is not None:
            raise RuntimeError(outcome.error)
        runs += outcome.results
    for name in config.search.objectives:
        if name not in values:
            values[name] = sum(value_of(name, OBJECTIVES.get(name), run) for run in runs) / seeds
    chosen = {name: values[name] for name in config.search.objectives}
    return Evaluation(layout=layout, objectives=chosen, cost=price, runs=tuple(runs))
