"""Trains some of a search's layouts again with fresh seeds, longer or as other proxies: does it rank them rightly?

Runs that are but longer are recorded in the search's audit.jsonl, those of another configuration in a folder of their
own beneath, audit-NAME.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nas.config import Config
from nas.results.folder import Folder
from nas.results.records import RunRecord
from nas.results.table import Row, Table
from nas.results.trials import Trial, TrialBook
from nas.search.setup import check, costs_of, make_job
from nas.study.folder import StudyFolder
from nas.study.ranking import Agreement, kendall
from nas.study.training import Progress, train
from search_space.cost.objectives import OBJECTIVES
from search_space.errors import InputError
from search_space.layouts.layout import Layout
from search_space.layouts.resize import resize
from workers.jobs import Outcome

APART = 1000
"""An audit's seeds begin so far above the search's, which may go on with further seeds after it."""


@dataclass(frozen=True, kw_only=True)
class Audited:
    """One layout, as the search and the audit saw it.

    Args:
        trial: its number in the search.
        label: the layout in short.
        search_value: the mean over the seeds of the search.
        search_seeds: how many these are.
        value: the mean over the seeds of the audit.
        seeds: how many these are.
        top: whether the search had it in its better half.
    """

    trial: int
    label: str
    search_value: float
    search_seeds: int
    value: float
    seeds: int
    top: bool


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit found.

    Args:
        objective: that the layouts are ranked by: the first of the search that training tells.
        steps: optimiser steps of its runs.
        rows: the layouts, best first as the search saw them.
        other: what the proxies of another configuration are; empty for those of the search.
    """

    objective: str
    steps: int
    rows: tuple[Audited, ...]
    other: str = ""

    def agreement(self, top: bool) -> Agreement:
        """Kendall's tau-b between search and audit.

        Args:
            top: over the layouts of the search's better half only.
        """
        rows = [row for row in self.rows if row.top or not top]
        return kendall([row.search_value for row in rows], [row.value for row in rows])


def ranked_by(config: Config) -> str:
    """The objective that layouts are ranked by: the first of the search that training tells."""
    return next(name for name in config.search.objectives if OBJECTIVES.get(name).measured)


def ranked(trials: Sequence[Trial], objective: str) -> list[Trial]:
    """The trials that were trained to their end, best first in a measured objective."""
    known = [t for t in trials if t.state == "complete"]
    losses = OBJECTIVES.get(objective).losses([t.value(objective) for t in known])
    return [known[i] for i in np.argsort(losses, kind="stable")]


def choose(best_first: Sequence[Trial], count: int) -> list[Trial]:
    """Layouts to audit: three quarters spread evenly over the better half, the rest over the other half.

    Args:
        best_first: all trials that were trained to their end.
        count: layouts wanted.

    Raises:
        InputError: there are fewer than four trials.
    """
    if len(best_first) < 4:
        raise InputError("DIR", f"{len(best_first)} trained layouts", "a search with at least four")
    half, upper = len(best_first) // 2, max(2, round(0.75 * count))
    return [*_spread(best_first[:half], upper), *_spread(best_first[half:], count - upper)]


def _spread(trials: Sequence[Trial], count: int) -> list[Trial]:
    places = np.linspace(0, len(trials) - 1, min(count, len(trials))).round().astype(int)
    return [trials[i] for i in places]


def first_seed(searched: Collection[int], audited: Collection[int]) -> int:
    """The lowest seed of an audit: above all of the search's, and that of an earlier audit where this still holds.

    Args:
        searched: seeds that the search trained with.
        audited: seeds that earlier audits trained with.
    """
    highest = max(searched, default=0)
    return min((seed for seed in audited if seed > highest), default=highest + APART)


@dataclass(frozen=True)
class Again:
    """How layouts of a search are trained again, and where that is recorded.

    Args:
        config: that they are trained with; its target is the search's.
        depth: layers that they are trained with; None leaves them as they are.
        read: the runs on record.
        append: puts runs on record.
        other: as in `Audit`.
    """

    config: Config
    depth: int | None
    read: Callable[[], list[RunRecord]]
    append: Callable[[Sequence[RunRecord]], None]
    other: str = ""

    @staticmethod
    def longer(config: Config, folder: Folder, factor: float) -> "Again":
        """The search's own proxies, trained `factor` times as long."""
        training = replace(config.training, steps=max(1, round(config.training.steps * factor)))
        return Again(replace(config, training=training), None, folder.read_audit, folder.append_audit)

    @staticmethod
    def elsewhere(config: Config, folder: Folder, other: Config, trust: bool = False) -> "Again":
        """The proxies, training and tasks of another configuration.

        Args:
            config: of the search.
            folder: of the search.
            other: configuration; its space tells the depth.
            trust: whether to import dotted paths that an earlier audit there names.

        Raises:
            InputError: the search's layouts cannot be trained so, or an audit of this name was another one.
        """
        parts = {name: getattr(other, name) for name in ("name", "proxy", "training", "tasks", "text")}
        trained = replace(config, **parts)
        check(trained)
        place = folder.path / f"audit-{other.name}"
        if place.is_symlink():
            raise InputError("DIR", place, "a folder of its own or nothing: move it away")
        study = StudyFolder.of(place, trained, trust)
        study.mend()
        depth = None if other.space.layers == config.space.layers else other.space.layers
        about = f"{other.name}: width {other.proxy.width}, {other.space.layers} layers, length {other.training.length}"
        return Again(trained, depth, study.read, study.append, about)

    def layout(self, trial: Trial) -> Layout:
        """What is trained for a trial."""
        return trial.layout if self.depth is None else resize(trial.design, self.depth)


def run(
    folder: Folder,
    trials: Sequence[Trial],
    again: Again,
    layouts: int,
    seeds: int,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> None:
    """Trains them; runs that are recorded already are not done again.

    Args:
        folder: of the search, held by this process.
        trials: of the search.
        again: how they are trained.
        layouts: how many of them to train.
        seeds: of each; `search.seeds_per_job` at once.
        on_progress: is told how far it is.
    """
    config, earlier = again.config, again.read()
    chosen = choose(ranked(trials, ranked_by(config)), layouts)
    done = {(r.layout, r.seed) for r in earlier if r.result and r.result.steps == config.training.steps}
    first, size = first_seed({r.seed for r in folder.read()}, {r.seed for r in earlier}), config.search.seeds_per_job
    every = range(first, first + seeds)
    wanted = [
        (t, tuple(seed for seed in every[i : i + size] if (again.layout(t), seed) not in done))
        for i in range(0, seeds, size)
        for t in chosen
    ]
    jobs = [make_job(config, t.number, again.layout(t), group) for t, group in wanted if group]
    by_number = {t.number: t for t in chosen}

    def record(outcome: Outcome) -> None:
        again.append(RunRecord.of(outcome, by_number[outcome.job.trial].origin, 0.0, config.search.objectives))

    train(config.workers, jobs, record, on_progress)


def read(folder: Folder, trials: Sequence[Trial], again: Again) -> Audit | None:
    """What was found so far, by the longest runs where there are several lengths; None before any audit."""
    highest = max((record.seed for record in folder.read()), default=0)
    records = [r for r in again.read() if r.seed > highest]
    steps = max((r.result.steps for r in records if r.result), default=0)
    book = TrialBook(costs_of(again.config))
    for record in records:
        if record.result and record.result.steps == steps:
            book.add(record)
    objective = ranked_by(again.config)
    best_first = ranked(trials, objective)
    rows = []
    for place, trial in enumerate(best_first):
        audited = book.get(again.layout(trial))
        if audited is not None:
            rows.append(
                Audited(
                    trial=trial.number,
                    label=str(trial.layout),
                    search_value=trial.value(objective),
                    search_seeds=len(trial.results),
                    value=audited.value(objective),
                    seeds=len(audited.results),
                    top=place < max(1, len(best_first) // 2),
                )
            )
    return Audit(objective=objective, steps=steps, rows=tuple(rows), other=again.other) if rows else None


def line(audit: Audit) -> str:
    """The verdict in a line."""
    parts = []
    for name, top in (("its better half", True), ("all", False)):
        found = audit.agreement(top)
        parts.append(f"{name} {found} over {found.count} layouts")
    seeds = max(row.seeds for row in audit.rows)
    other = f"{audit.other}, " if audit.other else ""
    return f"audit ({other}{audit.steps} steps, {seeds} seeds): rank agreement (tau) {'; '.join(parts)}."


def table(audit: Audit) -> Table:
    """Layouts as the search and the audit saw them, for people; both columns of values are of `audit.objective`."""
    show = OBJECTIVES.get(audit.objective).show
    rows = [
        (row.trial, show(row.search_value), row.search_seeds, show(row.value), row.seeds, row.label)
        for row in audit.rows
    ]
    return Table(
        heads=("trial", "search", "seeds", "audit", "seeds", f"layout ({audit.objective})"),
        rows=tuple(Row(cells=tuple(map(str, cells)), text=label) for *cells, label in rows),
        below=(line(audit),),
    )
