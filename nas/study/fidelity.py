"""Whether proxies rank layouts as the paper's models do, and as proxies of other seeds and shorter training do."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from nas.ranking import Agreement, kendall, spearman
from nas.study.cells import Cells, collect, published
from nas.trials import Trial
from search_space.errors import InputError
from workers.training import Result

Score = Callable[[Result], float]
CHOSEN_ON = ("deltanet", "gla")
"""The mixers whose RULER scores were looked at while the tasks were chosen."""


def recalls(trials: Sequence[Trial]) -> dict[str, Score]:
    """Name -> score: the recall (the mean over the training), that of each task, and the recall at the end."""
    found: dict[str, Score] = {"recall": lambda r: r.recall}
    found |= {f"recall of {task}": partial(_recall_until, f"recall/{task}", None) for task in _tasks(trials)}
    return found | {"recall at the end": _last("recall", 0.0)}


def losses(trials: Sequence[Trial]) -> dict[str, Score]:
    """Name -> score: the loss of each task, in nats."""
    return {f"loss of {task}": _last(f"loss/{task}", np.nan) for task in _tasks(trials)}


def _tasks(trials: Sequence[Trial]) -> list[str]:
    return [name.removeprefix("loss/") for name in _a_run(trials).curves if name.startswith("loss/")]


def _a_run(trials: Sequence[Trial]) -> Result:
    """Any that was trained to its end: all have the same tasks and evaluations."""
    return next(r for t in trials for r in t.results if r.status == "complete")


def _last(curve: str, diverged: float) -> Score:
    return lambda r: r.curves[curve][-1][1] if r.status == "complete" else diverged


def with_paper(cells: Cells, table: str, mixers: Sequence[str], less: str | None = None) -> tuple[Agreement, Agreement]:
    """Spearman's and Kendall's correlation with the paper's models, over the cells of `mixers` that both have.

    Args:
        table: "ruler_1p3b" or "lm_average".
        less: what both sides are taken less of: "ratio" takes out each ratio's mean over mixers, so that which mixer is
            better at a ratio is left; "mixer" each mixer's mean over ratios; None nothing.
    """
    paper = published(table)
    mixers = [m for m in mixers if m in cells.mixers and m in paper.mixers]
    both = (cells.only(mixers).means, paper.only(mixers, cells.ratios).means)
    if less is not None:
        axis = {"ratio": 0, "mixer": 1}[less]
        both = tuple(side - side.mean(axis, keepdims=True) for side in both)  # type: ignore[assignment]
    ours, theirs = (side[np.isfinite(both[0])] for side in both)
    return spearman(ours, theirs), kendall(ours, theirs)


def between_seeds(cells: Cells) -> Agreement:
    """Kendall's tau of the layouts between two seeds: the mean over pairs of seeds."""
    runs = _complete(cells)
    one, other = zip(*combinations(runs, 2), strict=True)
    return kendall(np.array(one), np.array(other))


@dataclass(frozen=True)
class Rung:
    """What the recall over the first part of the training says of that over all of it.

    Args:
        step: optimiser steps in that part.
        means: Kendall's tau of the means over seeds with those of whole runs.
        others: of each seed with the mean of the other seeds' whole runs, which share no luck in training with it (the
            test sequences are the same); the mean.
        paper: Spearman's correlation of the means with the paper's RULER scores.
    """

    step: int
    means: Agreement
    others: Agreement
    paper: Agreement


def at_each_rung(trials: Sequence[Trial]) -> Iterator[Rung]:
    """At every evaluation on the way."""
    whole = _complete(collect(trials, lambda r: r.recall))
    others = (whole.sum(0) - whole) / (len(whole) - 1)
    for count, (step, _) in enumerate(_a_run(trials).curves["recall"], 1):
        cells = collect(trials, partial(_recall_until, "recall", count))
        early = _complete(cells)
        paper, _ = with_paper(cells, "ruler_1p3b", cells.mixers)
        yield Rung(step, kendall(early.mean(0), whole.mean(0)), kendall(early, others), paper)


def _recall_until(curve: str, count: int | None, result: Result) -> float:
    """Mean of the first `count` points of a curve of recall; None means all."""
    return float(np.mean([v for _, v in result.curves[curve][:count]])) if result.status == "complete" else 0.0


def _complete(cells: Cells) -> np.ndarray:
    """[S, layouts]: the seeds that every layout was trained with."""
    runs = np.concatenate([cells.values.reshape(-1, cells.values.shape[2]), cells.transformer[None]]).T
    return runs[np.isfinite(runs).all(1)]


def between_studies(one: Sequence[Trial], other: Sequence[Trial]) -> Agreement:
    """Kendall's tau of the recall of the layouts that two studies share.

    Raises:
        InputError: they share fewer than four; the key is "--against".
    """
    a, b = ({t.origin: t.recall for t in trials if t.origin != "search" and t.results} for trials in (one, other))
    shared = sorted(a.keys() & b.keys())
    if len(shared) < 4:
        raise InputError("--against", f"{len(shared)} layouts in common", "another study, with four or more")
    return kendall([a[n] for n in shared], [b[n] for n in shared])
