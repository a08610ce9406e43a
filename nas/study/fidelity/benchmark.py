"""The benchmark of evidence: trains what statements need, in a folder where it can be stopped and gone on with."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from nas.config import Config
from nas.results.records import RunRecord
from nas.search.setup import make_job
from nas.study.fidelity.plan import Plan, Run, runs_of
from nas.study.fidelity.scores import LOSS, RECALL, Scores
from nas.study.folder import StudyFolder
from nas.study.training import Progress, train
from workers.jobs import Job, Outcome

CLOSE = 2.0
"""Standard errors below which the sides of a statement get further seeds..."""
PILOT = 8
"""...and how many runs get a second one in any case, so that the standard error is known."""


def run(
    config: Config,
    folder: StudyFolder,
    plan: Plan,
    seeds: int,
    refine: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stop: threading.Event | None = None,
) -> bool:
    """Trains every run of the plan; what is on record already is not done again.

    Args:
        config: that the runs are trained with.
        folder: held by this process.
        plan: of the statements.
        seeds: most of each run.
        refine: whether only the first seed is for all, and further ones for runs on both sides of a clear statement
            that lie within `CLOSE` standard errors.
        on_progress: as in `train`; told of each round of seeds by itself where they are refined.
        stop: as in `train`.

    Returns:
        Whether all ended; they did not where it was stopped.
    """
    rounds = _refined(folder, plan, seeds) if refine else iter([{run.number: seeds for run in plan.distinct}])
    return all(_train(config, folder, plan, wanted, on_progress, stop) for wanted in rounds)


def _refined(folder: StudyFolder, plan: Plan, seeds: int) -> Iterator[dict[int, int]]:
    """Seeds that are wanted, round by round; each round is trained before the next is asked for."""
    wanted = {run.number: 1 for run in plan.distinct}
    yield wanted
    for count in range(2, seeds + 1):
        if count == 2:
            yield (wanted := wanted | dict.fromkeys(pilot(plan, Scores.of(plan, folder.read())), count))
        yield (wanted := wanted | dict.fromkeys(close_runs(plan, Scores.of(plan, folder.read())), count))


def pilot(plan: Plan, scores: Scores) -> set[int]:
    """A few runs, spread evenly over their recall."""
    known = sorted((run for run in plan.distinct if scores.count(run)), key=lambda run: scores.mean(run, RECALL))
    places = np.linspace(0, len(known) - 1, min(PILOT, len(known))).round().astype(int)
    return {known[i].number for i in places}


def close_runs(plan: Plan, scores: Scores) -> set[int]:
    """The runs of pairs that are within `CLOSE` standard errors in what decides them."""

    def close(a: Run, b: Run, pair) -> bool:
        objective = LOSS if pair.statement.by_loss else RECALL
        apart = abs(scores.mean(a, objective) - scores.mean(b, objective))
        return apart < CLOSE * scores.standard_error(a, b, objective)

    return runs_of(plan.pairs, plan, close)


def _train(
    config: Config,
    folder: StudyFolder,
    plan: Plan,
    wanted: dict[int, int],
    on_progress: Callable[[Progress], None],
    stop: threading.Event | None,
) -> bool:
    """Trains runs with as many seeds as are wanted of each: number of a run -> seeds."""
    records = folder.read()
    done = {(record.layout, record.seed) for record in records if not record.lost}
    before, begin = records[-1].elapsed if records else 0.0, time.monotonic()
    by_number = {run.number: run for run in plan.distinct}

    def record(outcome: Outcome) -> None:
        ended = by_number[outcome.job.trial]
        elapsed = before + time.monotonic() - begin
        found = RunRecord.of(outcome, ended.origin, elapsed, [RECALL])
        folder.append([replace(each, layout=ended.proxy) for each in found])

    return train(config.workers, jobs(config, plan, wanted, done), record, on_progress, stop)


def jobs(config: Config, plan: Plan, wanted: dict[int, int], done: set) -> list[Job]:
    """What is left to train: the first seeds of all runs, then the next, and of these the longest runs first.

    Args:
        config: that the runs are trained with.
        plan: with the runs.
        wanted: number of a run -> seeds.
        done: (proxy, seed) of the runs on record.
    """
    size, first = config.search.seeds_per_job, config.search.seed
    found: list[Job] = []
    for begin in range(0, max(wanted.values(), default=0), size):
        for each in plan.distinct:
            every = range(first + begin, first + min(begin + size, wanted.get(each.number, 0)))
            seeds = tuple(seed for seed in every if (each.proxy, seed) not in done)
            if seeds:
                found.append(make_job(replace(config, target=each.target), each.number, each.layout, seeds))
    return found
