"""Whether proxies rank layouts as the paper's models do, and as proxies of other seeds and shorter training do."""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np

from nas.ranking import Agreement, kendall, spearman
from nas.study.cells import Cells, collect, published
from nas.trials import Trial
from workers.training import Result

Score = Callable[[Result], float]
CHOSEN_ON = ("deltanet", "gla")
"""The mixers whose RULER scores were looked at while the suite was chosen."""


def recalls(trials: Sequence[Trial]) -> dict[str, Score]:
    """Name -> score: the recall, that of each task, and the mean over the evaluations during training."""
    found: dict[str, Score] = {"recall": lambda r: r.recall}
    found |= {task: _last(f"recall/{task}") for task in _tasks(trials)}
    return found | {"recall, mean over the training": lambda r: float(np.mean([v for _, v in r.curves["recall"]]))}


def losses(trials: Sequence[Trial]) -> dict[str, Score]:
    """Name -> score: the loss of each task, in nats."""
    return {f"loss of {task}": _last(f"loss/{task}") for task in _tasks(trials)}


def _tasks(trials: Sequence[Trial]) -> list[str]:
    result = next(r for t in trials for r in t.results if r.status == "complete")
    return [name.removeprefix("loss/") for name in result.curves if name.startswith("loss/")]


def _last(curve: str) -> Score:
    return lambda r: r.curves[curve][-1][1]


def with_paper(cells: Cells, table: str, mixers: Sequence[str]) -> tuple[Agreement, Agreement]:
    """Spearman's and Kendall's correlation with the paper's models, over the cells of `mixers` that both have."""
    paper = published(table)
    mixers = [m for m in mixers if m in cells.mixers and m in paper.mixers]
    ours = cells.only(mixers).means.flatten()
    theirs = paper.only(mixers, cells.ratios).means.flatten()
    return spearman(ours, theirs), kendall(ours, theirs)


def between_seeds(cells: Cells) -> list[Agreement]:
    """Kendall's tau of the layouts between every two seeds."""
    flat = cells.values.reshape(-1, cells.values.shape[2])
    pairs = [flat[:, [a, b]] for a, b in combinations(range(flat.shape[1]), 2)]
    return [kendall(*pair[np.isfinite(pair).all(1)].T) for pair in pairs]


def at_each_rung(trials: Sequence[Trial]) -> Iterator[tuple[int, Agreement, Agreement]]:
    """Optimiser steps, and Kendall's tau of the recall by then with the final recall of all seeds.

    Two figures: with the final recall of the same runs, and with that of the other seeds, which shares no luck.
    """
    final = collect(trials, lambda r: r.recall)
    result = next(r for t in trials for r in t.results if r.status == "complete")
    for index, (step, _) in enumerate(result.curves["recall"]):
        early = collect(trials, lambda r, i=index: r.curves["recall"][i][1])
        same = kendall(early.means.flatten(), final.means.flatten())
        others = (np.nansum(final.values, 2, keepdims=True) - final.values) / (final.values.shape[2] - 1)
        yield step, same, kendall(early.values.flatten(), others.flatten()) if final.seeds > 1 else same


def between_folders(one: Sequence[Trial], other: Sequence[Trial]) -> Agreement:
    """Kendall's tau of the recall of the layouts that two studies share, by their names."""
    a, b = (_by_name(trials) for trials in (one, other))
    shared = sorted(a.keys() & b.keys())
    return kendall([a[n] for n in shared], [b[n] for n in shared])


def _by_name(trials: Sequence[Trial]) -> dict[str, float]:
    return {t.origin: t.recall for t in trials if t.state == "complete"}
