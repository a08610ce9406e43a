"""Trains a sample of a finished search's layouts longer and with fresh seeds: was the search right about them?"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from tqdm import tqdm

from nas.config import Config
from nas.results.folder import Folder, RunRecord
from nas.results.trials import Trial
from nas.search.service import make_book, make_job
from nas.study.ranking import Agreement, kendall
from search_space.errors import InputError
from workers.pool import open_pool

FIRST_SEED = 1000
"""Seeds of an audit begin here: a search counts from its own seed on."""


@dataclass(frozen=True, kw_only=True)
class Audited:
    """One layout, as the search and the audit saw it."""

    trial: int
    label: str
    search_recall: float
    search_seeds: int
    recall: float
    seeds: int
    top: bool
    """Whether the search had it in its better half."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit found.

    Args:
        steps: optimiser steps of its runs.
        rows: the layouts, best first as the search saw them.
    """

    steps: int
    rows: tuple[Audited, ...]

    def agreement(self, top: bool) -> Agreement:
        """Kendall's tau-b between search and audit.

        Args:
            top: over the layouts of the search's better half only.
        """
        rows = [row for row in self.rows if row.top or not top]
        return kendall([row.search_recall for row in rows], [row.recall for row in rows])


def choose(trials: Sequence[Trial], count: int) -> list[Trial]:
    """Layouts to audit, best first: three quarters spread evenly over the better half by recall, the rest below it.

    Raises:
        InputError: fewer than four layouts were trained to their end.
    """
    known = sorted((t for t in trials if t.state == "complete"), key=lambda t: -t.recall)
    if len(known) < 4:
        raise InputError("DIR", f"{len(known)} trained layouts", "a search with at least four")
    half = len(known) // 2
    upper = max(2, round(0.75 * count))
    return [*_spread(known[:half], upper), *_spread(known[half:], count - upper)]


def _spread(trials: list[Trial], count: int) -> list[Trial]:
    places = np.linspace(0, len(trials) - 1, min(count, len(trials))).round().astype(int)
    return [trials[i] for i in places]


def run(config: Config, folder: Folder, trials: Sequence[Trial], layouts: int, seeds: int, factor: float) -> None:
    """Trains them; runs that are recorded already are not done again.

    Args:
        layouts: how many.
        seeds: of each; as many at once as `search.together` says.
        factor: length of a run, in those of the search.
    """
    chosen = choose(trials, layouts)
    training = replace(config.training, steps=max(1, round(config.training.steps * factor)))
    jobs = partial(make_job, replace(config, training=training))
    done = {(r.layout, r.result.seed) for r in folder.read_audit() if r.result and r.result.steps == training.steps}
    every = range(FIRST_SEED, FIRST_SEED + seeds)
    groups = [every[i : i + config.search.together] for i in range(0, seeds, config.search.together)]
    wanted = [(t, tuple(seed for seed in group if (t.layout, seed) not in done)) for group in groups for t in chosen]
    waiting = [(t, group) for t, group in wanted if group]
    if not waiting:
        return
    by_number = {t.number: t for t in chosen}
    print("starting workers ...", file=sys.stderr, flush=True)
    pool = open_pool(config.workers)
    bar = tqdm(
        total=sum(len(group) for _, group in waiting),
        desc="audit",
        unit="run",
        file=sys.stderr,
        mininterval=0 if sys.stderr.isatty() else 20,
    )
    try:
        running = 0
        while waiting or running:
            while waiting and running < pool.slots:
                trial, group = waiting.pop(0)
                pool.submit(jobs(trial.number, trial.layout, group))
                running += 1
            for outcome in pool.wait(1.0):
                running -= 1
                records = RunRecord.of(outcome, by_number[outcome.job.trial].origin, elapsed=0.0)
                folder.append_audit(records)
                bar.update(len(records))
    finally:
        bar.close()
        pool.close()


def read(config: Config, folder: Folder, trials: Sequence[Trial]) -> Audit | None:
    """What was found so far: of the longest runs, if there are several lengths; None before any audit."""
    records = [r for r in folder.read_audit() if r.result is not None]
    steps = max((r.result.steps for r in records if r.result), default=0)
    book = make_book(config)
    for record in records:
        if record.result and record.result.steps == steps:
            book.add(record)
    known = sorted((t.recall for t in trials if t.state == "complete"), reverse=True)
    rows = []
    for trial in sorted(trials, key=lambda t: -t.recall):
        audited = book.get(trial.layout)
        if audited is not None:
            rows.append(
                Audited(
                    trial=trial.number,
                    label=str(trial.layout),
                    search_recall=trial.recall,
                    search_seeds=len(trial.results),
                    recall=audited.recall,
                    seeds=len(audited.results),
                    top=trial.recall >= known[max(0, len(known) // 2 - 1)],
                )
            )
    return Audit(steps=steps, rows=tuple(rows)) if rows else None


def line(audit: Audit) -> str:
    """The verdict in a line."""
    parts = []
    for name, top in (("its better half", True), ("all", False)):
        found = audit.agreement(top)
        parts.append(f"{name} {found} over {found.count} layouts")
    seeds = max(row.seeds for row in audit.rows)
    return f"audit ({audit.steps} steps, {seeds} seeds): rank agreement (tau) {'; '.join(parts)}."


def table(audit: Audit) -> str:
    """Layouts as the search and the audit saw them, for people."""
    lines = [f"{'trial':>5}  {'search':>6}  {'seeds':>5}  {'audit':>6}  {'seeds':>5}  layout"]
    for row in audit.rows:
        lines.append(
            f"{row.trial:>5}  {row.search_recall:>6.3f}  {row.search_seeds:>5}  {row.recall:>6.3f}  {row.seeds:>5}  "
            f"{row.label}"
        )
    return "\n".join([*lines, line(audit)]) + "\n"
