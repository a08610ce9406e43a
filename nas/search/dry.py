"""What a search would take, without searching: measured by a few steps of a few layouts."""

import os
import random
import resource
import sys
from dataclasses import dataclass, replace
from statistics import fmean

import torch

from nas.config import Config
from nas.results.queue import queued
from nas.results.records import RunRecord
from nas.search.setup import check, make_job
from search_space.layouts.layout import Layout
from workers.jobs import run_job
from workers.training import Result

LAYOUTS = 3
"""Layouts that are trained for a few steps, after one that only warms up..."""
STEPS = (10, 30)
"""...twice, with one evaluation each: the difference is that of the steps."""


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What a search would take on this machine.

    Args:
        layouts: in the space.
        blocks: that a layer may be.
        published: layouts that are tried first.
        seconds_a_run: of a run on one worker, the mean of a few layouts.
        slots: runs at once; None where a cluster will say.
        runs: that fit in the budget, a seed of a layout each; None where it has no limit, or slots are not known.
        memory_bytes: of a worker's process.
        disk_bytes: that a run adds to the record.
    """

    layouts: int
    blocks: int
    published: int
    seconds_a_run: float
    slots: int | None
    runs: int | None
    memory_bytes: int
    disk_bytes: int


def dry_run(config: Config) -> DryRun:
    """Measures what a search with `config` would take. Nothing is written, and no workers are started.

    Raises:
        InputError: something in the configuration cannot be used.
        RuntimeError: a layout cannot be trained.
    """
    space, draw = check(config), random.Random(config.search.seed)
    queue = queued(config, space)
    layouts = [layout for layout, _ in queue[:1]] + [space.sample(draw) for _ in range(LAYOUTS)]
    _train(config, layouts[0], STEPS[0])
    seconds, result = [], None
    for layout in layouts[:LAYOUTS]:
        few, more = (_train(config, layout, steps) for steps in STEPS)
        step = max(0.0, more.seconds - few.seconds) / (STEPS[1] - STEPS[0])
        evaluation = max(0.0, few.seconds - STEPS[0] * step)
        seconds.append(config.training.steps * step + config.training.evaluations * evaluation)
        result = more
    assert result is not None
    slots = _slots(config)
    return DryRun(
        layouts=space.size,
        blocks=len(space.blocks),
        published=len(queue),
        seconds_a_run=fmean(seconds),
        slots=slots,
        runs=_runs(config, fmean(seconds), slots),
        memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        disk_bytes=_record_bytes(config, layouts[-1], result),
    )


def _train(config: Config, layout: Layout, steps: int) -> Result:
    job = make_job(config, 0, layout, (config.search.seed,))
    training = replace(config.training, steps=steps, evaluations=1)
    outcome = run_job(replace(job, training=training))
    if outcome.error is not None:
        raise RuntimeError(outcome.error)
    return outcome.results[0]


def _slots(config: Config) -> int | None:
    """Runs at once, as the pool will count them on this machine."""
    workers = config.workers
    if workers.pool == "local":
        return 1
    if workers.address is not None:
        return workers.count
    room = {"cpus": (os.cpu_count() or 1, workers.cpus), "gpus": (torch.cuda.device_count(), workers.gpus)}
    fits = [int(there / need) for there, need in room.values() if need]
    return min([*fits, workers.count or max(fits)])


def _runs(config: Config, seconds: float, slots: int | None) -> int | None:
    """Runs that the budget has room for."""
    search, most = config.search, []
    if search.trials is not None:
        most.append(search.trials * search.seeds)
    if search.seconds is not None and slots is not None:
        most.append(int(slots * search.seconds / max(seconds, 1e-9)))
    return min(most, default=None)


def _record_bytes(config: Config, layout: Layout, result: Result) -> int:
    """Of the line of a run, with as many points of each curve as a full run has."""
    curves = {name: curve * config.training.evaluations for name, curve in result.curves.items()}
    record = RunRecord(
        trial=100, origin=None, layout=layout, seed=0, elapsed=1000.123456789, result=replace(result, curves=curves)
    )
    return len(record.to_line().encode())
