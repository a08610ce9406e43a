"""Runs jobs as Ray tasks, on the cores of this machine or on a cluster."""

import logging
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import torch

from search_space.errors import InputError
from workers.errors import WorkersLost
from workers.jobs import Job, Outcome, run_job
from workers.pool import Workers
from workers.pools.limit import START, Limit
from workers.pools.ray_settings import prepare, token_source
from workers.watch import afterwards, kill_children

logger = logging.getLogger(__name__)

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Seconds before each attempt to have Ray back, until a job comes to its end again; after the last it is given up."""
VITAL = ("raylet", "gcs_server")
"""Processes of Ray without which nothing runs."""


@dataclass
class Task:
    """A job that Ray has.

    Args:
        key: under which the worker says how it gets on.
        submitted: when Ray got it, on the monotonic clock.
        begun: when its worker said that it runs; None before: on a cluster it may wait for room.
        expected: seconds that it will take, by its first steps; 0 before they are done.
    """

    job: Job
    key: str
    submitted: float
    begun: float | None = None
    expected: float = 0.0


class RayPool:
    """Runs jobs as Ray tasks.

    Ray does not say that its own processes are gone: tasks never end then, and it ends the caller's process after a
    minute. So that is looked after here: Ray is started anew (or the cluster joined again), with growing pauses, and
    what was under way comes back as lost.
    """

    def __init__(self, workers: Workers):
        theirs = "ray" in sys.modules and sys.modules["ray"].is_initialized()
        if not theirs:
            prepare(workers.address)
        import ray

        self._ray: Any = ray
        self._workers, self._limit = workers, Limit(workers.timeout)
        self._waiting: deque[Job] = deque()
        self._running: dict[Any, Task] = {}
        self._falls, self._up_at = 0, 0.0  # times that Ray was lost in a row; when to try and have it back
        self._ours = not theirs
        if self._ours:
            _check_machine(workers)
            self._connect()
        self._declare()
        room = ray.cluster_resources()
        for resource, need in (("CPU", workers.cpus), ("GPU", workers.gpus)):
            if room.get(resource, 0) < need:
                self.close()
                _refuse(resource, need, room.get(resource, 0))
        fits = [int(room[r] / need) for r, need in (("CPU", workers.cpus), ("GPU", workers.gpus)) if need]
        self.slots = min([*fits, workers.count or max(fits)])

    def submit(self, job: Job) -> None:  # noqa: D102
        self._waiting.append(job)

    def wait(self, timeout: float) -> list[Outcome]:  # noqa: D102
        if not self._waiting and not self._running:
            return []
        if self._falls and not self._ray.is_initialized() and not self._reconnect(timeout):
            return []
        gone = self._gone()
        if gone is None:
            while self._waiting:
                self._begin(self._waiting.popleft())
            done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=timeout)
            found = [self._outcome(reference) for reference in done]
            outcomes = [outcome for outcome in found if outcome is not None]
            gone = "raylet" if None in found else self._gone()
        else:
            outcomes = []
        return outcomes + (self._check_times() if gone is None else self._fall(gone))

    def expected(self) -> list[tuple[Job, float]]:  # noqa: D102
        return [(task.job, task.expected) for task in self._running.values() if task.expected]

    def close(self) -> None:  # noqa: D102
        if self._ours:
            self._ray.shutdown()

    def _begin(self, job: Job) -> None:
        key = f"nas/{uuid.uuid4().hex}"
        self._running[self._run.remote(job, key)] = Task(job, key, time.monotonic())

    def _outcome(self, reference: Any) -> Outcome | None:
        """What became of a job; None where it was lost with Ray, which `_fall` will tell."""
        task = self._running[reference]
        errors = self._ray.exceptions
        try:
            outcome = self._ray.get(reference)
        except errors.LocalRayletDiedError:
            return None
        except errors.NodeDiedError as error:
            outcome = Outcome(job=task.job, error=_line(error), fault="node")
        except errors.RayError as error:
            outcome = Outcome(job=task.job, error=f"the worker process was lost: {_line(error)}", fault="worker")
        del self._running[reference]
        if outcome.error is None:
            self._falls = 0
            self._limit.saw(time.monotonic() - (task.begun or time.monotonic()))
        return outcome

    def _check_times(self) -> list[Outcome]:
        """Ends jobs that take too long."""
        ended = []
        now = time.monotonic()
        for reference, task in list(self._running.items()):
            self._ask(task)
            limit = self._limit.of(task.expected)
            if task.begun is not None and now - task.begun > limit:
                # By force at once: a job that was asked politely before may never be ended.
                self._ray.cancel(reference, force=True)
                del self._running[reference]
                error = f"it took more than {limit:.0f} s (workers.timeout)"
                ended.append(Outcome(job=task.job, error=error, fault="time"))
        # Ray of our own has room for every job that it gets.
        alone = self._ours and self._workers.address is None
        if alone and any(task.begun is None and now - task.submitted > START for task in self._running.values()):
            ended += self._fall("no worker process starts")
        return ended

    def _ask(self, task: Task) -> None:
        """Takes over what the worker said of the job: 0 when it began, later how long it will take."""
        if task.expected:
            return
        from ray.experimental.internal_kv import _internal_kv_get

        said = None
        with suppress(Exception):  # whatever it is, the next look at Ray tells
            said = _internal_kv_get(task.key)
        if said is not None:
            task.begun = task.begun or time.monotonic()
            task.expected = float(said)

    def _gone(self) -> str | None:
        """What is missing of Ray; None if it is there."""
        if not self._ray.is_initialized():
            return "Ray"
        if self._gcs is not None and not _answers(*self._gcs):
            return "gcs_server"
        node: Any = getattr(self._ray._private.worker, "_global_node", None)
        dead = [name for name, _ in node.dead_processes()] if hasattr(node, "dead_processes") else []
        return next((name for name in dead if name in VITAL), None)

    def _fall(self, gone: str) -> list[Outcome]:
        """Takes leave of a Ray that is lost; all jobs that it had are."""
        lost = [task.job for task in self._running.values()]
        self._running.clear()
        if not self._ours:
            raise WorkersLost(f"{gone} is gone of the Ray that the program was connected to")
        if self._falls == len(PAUSES):
            raise WorkersLost(f"Ray was lost {self._falls + 1} times in a row ({gone}), and does not stay")
        pause = PAUSES[self._falls]
        self._falls, self._up_at = self._falls + 1, time.monotonic() + pause
        logger.warning("Ray was lost (%s); it is started again in %.0f s", gone, pause)
        self._ray.shutdown()
        return [Outcome(job=job, error=f"lost with Ray ({gone})", fault="node") for job in lost]

    def _reconnect(self, timeout: float) -> bool:
        """Has Ray back if it is time for that, waiting at most `timeout` seconds; returns whether it is there."""
        pause = self._up_at - time.monotonic()
        time.sleep(max(0.0, min(timeout, pause)))
        if pause > timeout:
            return False
        try:
            self._connect()
            self._declare()
        except Exception as error:  # whatever it is, the next attempt or the last one tells
            self._fall(_line(error))
            return False
        return True

    def _connect(self) -> None:
        workers, address = self._workers, self._workers.address
        quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        with _signals_kept():
            if address is None:
                try:
                    memory = 100 * 2**20
                    self._ray.init(
                        include_dashboard=False, object_store_memory=memory, num_cpus=_cores(workers), **quiet
                    )
                except Exception as error:
                    raise WorkersLost(f"Ray does not start on this machine: {_line(error)}") from error
                self._end_agents_too()
            else:
                self._join(address, quiet)

    def _end_agents_too(self) -> None:
        """Ray's processes end with this one when it is killed, but those that the raylet started go on for ever."""
        node: Any = self._ray._private.worker._global_node
        for raylet in node.all_processes.get("raylet", ()):
            afterwards(kill_children(raylet.process.pid, "ray::"))

    def _declare(self) -> None:
        """Tells Ray, that was just connected to, what its tasks are."""
        workers, address = self._workers, self._workers.address
        # A GPU run gets a process of its own, so that its memory is freed when it ends.
        self._run = self._ray.remote(
            num_cpus=workers.cpus, num_gpus=workers.gpus, max_retries=0, max_calls=1 if workers.gpus else 0
        )(_run)
        # Of a Ray of our own the processes themselves are looked at; a client (ray://) is told by exceptions.
        joined = address is not None and not address.startswith("ray://")
        self._gcs = _host_and_port(self._ray.get_runtime_context().gcs_address) if joined else None

    def _join(self, address: str, quiet: dict[str, Any]) -> None:
        place = _host_and_port(address.removeprefix("ray://"))
        try:
            if place is not None and not _answers(*place):
                raise ConnectionError("nothing answers there")
            self._check_token(address)
            self._ray.init(address=address, **quiet)
        except InputError:
            raise
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InputError("workers.address", address, f"a running Ray cluster ({_line(error)})") from error

    def _check_token(self, address: str) -> None:
        """Shows the token to the cluster: Ray itself tries for 20 s, and does not say what is wrong."""
        if address.startswith("ray://"):
            return
        from ray import _raylet
        from ray._private.services import canonicalize_bootstrap_address

        try:
            _ = cast(Any, _raylet).GcsClient(address=canonicalize_bootstrap_address(address)).cluster_id
        except self._ray.exceptions.AuthenticationError as error:
            expected = f"a Ray cluster that takes the token of {token_source()}; it was refused (docs/workers.md)"
            raise InputError("workers.address", address, expected) from error
        except Exception as error:  # private parts of Ray: what is wrong, `init` tells
            logger.debug("the token was not looked at: %s", _line(error))


def _run(job: Job, key: str) -> Outcome:
    """Runs the job in the worker; says under `key` that it began (0), then how many seconds it is expected to take."""
    from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_put

    def say(seconds: float) -> None:
        with suppress(Exception):  # without it, other limits hold
            _internal_kv_put(key, str(seconds))

    say(0.0)
    try:
        return run_job(job, say)
    finally:
        with suppress(Exception):
            _internal_kv_del(key)


def _check_machine(workers: Workers) -> None:
    """Refuses what this machine does not have, before Ray is started on it."""
    if workers.address is None and workers.gpus > torch.cuda.device_count():
        _refuse("GPU", workers.gpus, torch.cuda.device_count())


def _refuse(resource: str, need: float, room: float) -> NoReturn:
    raise InputError(f"workers.{resource.lower()}s", need, f"at most the {room:g} that the Ray cluster has")


def _cores(workers: Workers) -> int:
    """Cores that Ray may use here: those this process may run on, or more where `count` asks for it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(cores, round((workers.count or 1) * workers.cpus))


def _host_and_port(address: str) -> tuple[str, int] | None:
    host, _, port = address.rpartition(":")
    return (host.strip("[]"), int(port)) if host and port.isdigit() else None


def _answers(host: str, port: int) -> bool:
    """Whether something takes connections there."""
    try:
        with socket.create_connection((host, port), timeout=5.0):
            return True
    except (OSError, OverflowError):
        return False


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


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
