"""Where jobs run: in this process, or spread over a Ray cluster."""

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from search_space.checks import not_negative, or_none, positive, positive_number
from search_space.errors import InputError
from workers.jobs import Job, Outcome, run_job


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Where and how widely runs are spread.

    Args:
        pool: "ray" (every core of this machine, or a cluster) or "local" (one after the other, in this process).
        count: most runs at once; null means as many as the cluster has room for.
        cpus: cores a run takes.
        gpus: GPUs a run takes; a fraction lets several runs share one.
        address: of a running Ray cluster ("auto", "ray://host:10001"); null starts Ray on this machine.
    """

    pool: str = "ray"
    count: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    address: str | None = None

    def __post_init__(self):
        if self.pool not in ("ray", "local"):
            raise InputError("workers.pool", self.pool, "ray or local")
        or_none(positive, "workers.count", self.count)
        positive_number("workers.cpus", self.cpus)
        not_negative("workers.gpus", self.gpus)


class Pool(Protocol):
    """Takes jobs and gives back outcomes, in whatever order they end."""

    slots: int

    def submit(self, job: Job) -> None:
        """Hands a job over; at most `slots` are taken at a time."""

    def wait(self, timeout: float) -> list[Outcome]:
        """The jobs that ended, waiting at most `timeout` seconds for the first."""

    def close(self) -> None:
        """Gives up what is still running."""


class LocalPool:
    """Runs each job in this process when its outcome is waited for."""

    slots = 1

    def __init__(self):
        self._jobs: deque[Job] = deque()

    def submit(self, job: Job) -> None:  # noqa: D102
        self._jobs.append(job)

    def wait(self, timeout: float) -> list[Outcome]:  # noqa: D102
        return [run_job(self._jobs.popleft())] if self._jobs else []

    def close(self) -> None:  # noqa: D102
        self._jobs.clear()


class RayPool:
    """Runs jobs as Ray tasks. A job whose worker dies is started again, three times at most."""

    def __init__(self, workers: Workers):
        # Ray reads these when it is imported: no usage reports, and no warning about a later change of its defaults.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        self._ray = ray
        self._started = not ray.is_initialized()
        if self._started:
            with _signals_kept():
                self._connect(workers)
        room = ray.cluster_resources()
        for resource, need in (("CPU", workers.cpus), ("GPU", workers.gpus)):
            if room.get(resource, 0) < need:
                self.close()
                key = f"workers.{resource.lower()}s"
                raise InputError(key, need, f"at most the {room.get(resource, 0):g} that the Ray cluster has")
        fits = [int(room[r] / need) for r, need in (("CPU", workers.cpus), ("GPU", workers.gpus)) if need]
        self.slots = min([*fits, workers.count or max(fits)])
        # A GPU run gets a process of its own, so that its memory is freed when it ends.
        self._run = ray.remote(
            num_cpus=workers.cpus, num_gpus=workers.gpus, max_retries=3, max_calls=1 if workers.gpus else 0
        )(run_job)
        self._running: dict[Any, Job] = {}

    def _connect(self, workers: Workers) -> None:
        quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        if workers.address is None:
            self._ray.init(include_dashboard=False, object_store_memory=100 * 2**20, num_cpus=_cores(workers), **quiet)
            return
        try:
            self._ray.init(address=workers.address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError("workers.address", workers.address, f"a running Ray cluster ({reason})") from error

    def submit(self, job: Job) -> None:  # noqa: D102
        self._running[self._run.remote(job)] = job

    def wait(self, timeout: float) -> list[Outcome]:  # noqa: D102
        if not self._running:
            return []
        done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=timeout)
        return [self._outcome(reference) for reference in done]

    def _outcome(self, reference: Any) -> Outcome:
        job = self._running.pop(reference)
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return Outcome(job=job, error=f"the worker was lost: {error}", lost=True)

    def close(self) -> None:  # noqa: D102
        if self._started:
            self._ray.shutdown()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Undoes what Ray does to the request to terminate: what it means is for the program to say."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        # Only the main thread may set it, and only there does Ray; None stands for a handler that is not Python's.
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _cores(workers: Workers) -> int:
    """Cores that Ray may use here: those this process may run on, or more where `count` asks for it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(cores, round((workers.count or 1) * workers.cpus))


def open_pool(workers: Workers) -> Pool:
    """The pool that the configuration asks for."""
    return LocalPool() if workers.pool == "local" else RayPool(workers)
