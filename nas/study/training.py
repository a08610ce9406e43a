"""Trains a list of jobs on the workers of a configuration: what audits and benchmarks of evidence share."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nas.search.losses import Losses
from workers.jobs import Job, Outcome
from workers.pool import Pool, Workers
from workers.pools import open_pool

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a list of jobs is.

    Args:
        done: runs that ended.
        total: runs in all; a job has one for each seed.
        seconds_left: expected, by the time that a layer has taken so far, or that the first jobs say it will take; None
            before they do.
    """

    done: int
    total: int
    seconds_left: float | None


def train(
    workers: Workers,
    jobs: Sequence[Job],
    record: Callable[[Outcome], None],
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stop: threading.Event | None = None,
) -> bool:
    """Trains jobs in their order. One that is lost with its worker is tried again.

    Args:
        workers: where they run.
        jobs: to be trained; without any no worker is started.
        record: is given every outcome as it ends, those that were lost included.
        on_progress: is told how far it is, about once a second.
        stop: ends it early when it is set.

    Returns:
        Whether all ended; they did not where it was stopped.

    Raises:
        InputError: the workers cannot be had.
        WorkersLost: they are gone and cannot be had again.
    """
    if not jobs:
        return True
    stop = stop or threading.Event()
    waiting, losses, running = list(jobs), Losses(), 0
    layers, runs = sum(map(_layers, jobs)), sum(len(job.seeds) for job in jobs)
    done = layers_done = 0
    logger.info("starting workers ...")
    pool = open_pool(workers)
    begin = time.monotonic()
    try:
        while (waiting or running) and not stop.is_set():
            while waiting and running < pool.slots:
                pool.submit(waiting.pop(0))
                running += 1
            for outcome in map(losses.judge, pool.wait(1.0)):
                running -= 1
                record(outcome)
                if outcome.lost:
                    logger.warning("run %d is tried again: %s", outcome.job.trial, outcome.error)
                    waiting.insert(0, outcome.job)
                    continue
                done, layers_done = done + len(outcome.job.seeds), layers_done + _layers(outcome.job)
            elapsed = time.monotonic() - begin
            if layers_done:
                left: float | None = elapsed / layers_done * (layers - layers_done)
            else:
                left = _expected(pool, layers, elapsed)
            on_progress(Progress(done=done, total=runs, seconds_left=left))
    finally:
        pool.close()
    return not (waiting or running)


def _expected(pool: Pool, layers: int, elapsed: float) -> float | None:
    """Seconds left for so many layers by what the first jobs say that they will take; None if none says yet."""
    said = pool.expected()
    if not said:
        return None
    each = sum(seconds for _, seconds in said) / sum(_layers(job) for job, _ in said)
    return max(0.0, each * layers / pool.slots - elapsed)


def _layers(job: Job) -> int:
    """Layers that a job trains, with all its seeds."""
    return len(job.layout.layers) * len(job.seeds)
