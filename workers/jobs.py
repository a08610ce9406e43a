"""What is sent to a worker, and what comes back."""

import json
import traceback
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from search_space.layouts.layout import Layout
from search_space.scale import Scale
from workers.tasks.suite import Suite, build_suite
from workers.training import Result, Training, train


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
    """

    trial: int
    layout: Layout
    seeds: tuple[int, ...]
    scale: Scale
    training: Training
    tasks: dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a job: a result for each seed, or the error that it ended with (a traceback)."""

    job: Job
    results: tuple[Result, ...] = ()
    error: str | None = None


@lru_cache(maxsize=4)
def _suite(tasks: str, length: int) -> Suite:
    return build_suite(json.loads(tasks), length)


def run_job(job: Job) -> Outcome:
    """Runs a job in this process, on one thread; errors come back as values."""
    torch.set_num_threads(1)
    try:
        suite = _suite(json.dumps(job.tasks), job.training.length)
        layout, sizes = job.scale.layout(job.layout), job.scale.sizes(suite.vocabulary)
        results, _ = train(layout, sizes, job.training, suite, job.seeds)
        return Outcome(job=job, results=results)
    except Exception:
        return Outcome(job=job, error=traceback.format_exc())
