"""What is sent to a worker, and what comes back."""

import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from typing import Any, Literal

import torch

from search_space.layouts.layout import Layout
from search_space.scale import Scale
from workers.stack import State
from workers.suite.suite import Suite, build_suite
from workers.training import Result, Run, Training

FIRST_STEPS = 10
"""Steps after which a job tells how long it will take."""

Fault = Literal["layout", "worker", "time", "node"]
"""Whose fault an error is: the layout's; or that of the place where it ran, which is the worker process (it ended), the
time limit, or a machine (it took along all that ran on it)."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A layout, trained with one seed or with several together.

    Args:
        trial: number of the trial that it belongs to.
        layout: with options at the target's scale.
        seeds: of the runs.
        scale: from the target to the proxy.
        training: how it is trained.
        tasks: label -> options of the task, as `build_suite` takes them.
        keep_weights: whether the trained weights come back as well.
    """

    trial: int
    layout: Layout
    seeds: tuple[int, ...]
    scale: Scale
    training: Training
    tasks: dict[str, dict[str, Any]]
    keep_weights: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a job.

    Args:
        results: one for each seed, in their order; empty after an error.
        error: what the job ended with instead (a traceback, or a line).
        fault: whose fault the error is.
        weights: of each seed, as `torch.save` writes what `Run.states` gives; empty unless the job asked for them.
    """

    job: Job
    results: tuple[Result, ...] = ()
    error: str | None = None
    fault: Fault = "layout"
    weights: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def lost(self) -> bool:
        """Whether the error is that of the place where the job ran, not of its layout."""
        return self.error is not None and self.fault != "layout"


@lru_cache(maxsize=4)
def _suite(tasks: str, length: int) -> Suite:
    return build_suite(json.loads(tasks), length)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Runs torch on one thread, and gives the process its threads back: it may be a user's notebook."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _saved(state: State) -> bytes:
    file = BytesIO()
    torch.save(state, file)
    return file.getvalue()


def run_job(job: Job, on_pace: Callable[[float], None] = lambda seconds: None) -> Outcome:
    """Runs a job in this process, on one thread; errors come back as values.

    Args:
        job: to be run.
        on_pace: is told, after the first steps, how many seconds the whole training is expected to take.
    """
    try:
        with _one_thread():
            suite = _suite(json.dumps(job.tasks), job.training.length)
            layout, sizes = job.scale.layout(job.layout), job.scale.sizes(suite.vocabulary)
            run = Run(layout, sizes, job.training, suite, job.seeds)
            run.advance(FIRST_STEPS)
            on_pace(run.seconds / run.step * job.training.steps)
            results = run.advance(job.training.steps)
            weights = tuple(map(_saved, run.states())) if job.keep_weights else ()
            return Outcome(job=job, results=results, weights=weights)
    except (Exception, SystemExit):  # a layout that asks the process to end costs its own job alone
        return Outcome(job=job, error=traceback.format_exc())
