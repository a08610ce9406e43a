"""Trains a list of jobs on the workers of a configuration: what audits and benchmarks of evidence share."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nas.search.losses import Losses
from workers.jobs import Job, Outcome
from workers.pool import Workers
from workers.pools import open_pool

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a list of jobs is.

    Args:
        done: runs that ended.
        total: runs in all; a job has one for each seed.
        seconds_left: expected, by what a layer took in the runs that ended and will take in those that say so; None
            before one does.
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
    done, pace = 0, _Pace()
    begun: dict[int, float] = {}
    logger.info("starting workers ...")
    pool = open_pool(workers)
    begin = time.monotonic()
    try:
        while (waiting or running) and not stop.is_set():
            while waiting and running < pool.slots:
                job = waiting.pop(0)
                begun[job.trial] = time.monotonic()
                pool.submit(job)
                running += 1
            for outcome in map(losses.judge, pool.wait(1.0)):
                running -= 1
                record(outcome)
                if outcome.lost:
                    logger.warning("run %d is tried again: %s", outcome.job.trial, outcome.error)
                    waiting.insert(0, outcome.job)
                    continue
                done += len(outcome.job.seeds)
                pace.add(_layers(outcome.job), time.monotonic() - begun[outcome.job.trial])
            each = pace.seconds(pool.expected())
            left = each and max(0.0, each * layers / pool.slots - (time.monotonic() - begin))
            on_progress(Progress(done=done, total=runs, seconds_left=left if done < runs else 0.0))
    finally:
        pool.close()
    return not (waiting or running)


@dataclass
class _Pace:
    """Layers trained to the end, and the seconds that they took."""

    layers: int = 0
    took: float = 0.0

    def add(self, layers: int, took: float) -> None:
        self.layers += layers
        self.took += took

    def seconds(self, running: Sequence[tuple[Job, float]]) -> float | None:
        """What a layer takes, by these and by the jobs that run and say what they will; None if there are neither."""
        layers = self.layers + sum(_layers(job) for job, _ in running)
        return (self.took + sum(took for _, took in running)) / layers if layers else None


def _layers(job: Job) -> int:
    """Layers that a job trains, with all its seeds."""
    return len(job.layout.layers) * len(job.seeds)
