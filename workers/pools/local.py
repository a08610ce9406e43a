"""Runs jobs one after the other, in one process beside this one."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from typing import Any

from workers.errors import WorkersLost
from workers.jobs import Fault, Job, Outcome
from workers.pool import Workers
from workers.pools.limit import START, Limit

STARTS = 3
"""How often a process may fail to start, one time after the other."""
LOOK = 0.5
"""Seconds after which it is looked whether the process is still there, should its end not show by itself."""


class Worker:
    """A process that runs one job at a time (`workers.pools.child`).

    It is no fork of this process: it imports torch for itself, while the caller goes on.

    Attributes:
        ready: whether it takes jobs.
    """

    def __init__(self):
        self.ready = self._ended = False
        self._connection, theirs = Pipe()
        arguments = [sys.executable, "-P", "-m", "workers.pools.child", str(theirs.fileno()), str(os.getpid())]
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=2,  # standard output belongs to the caller's results
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
            start_new_session=True,  # Ctrl-C is for the caller to answer
        )
        theirs.close()

    def send(self, job: Job) -> None:
        """Hands a job over.

        Raises:
            EOFError: the process has ended.
        """
        with self._watch():
            self._connection.send(job)

    def receive(self, patience: float) -> tuple[str, Any] | None:
        """What the process says (`workers.pools.child.Message`) within `patience` seconds.

        Raises:
            EOFError: the process has ended.
        """
        with self._watch():
            if self._connection.poll(max(0.0, patience)):
                return self._connection.recv()
            if self._process.poll() is not None:
                raise EOFError
            return None

    @contextmanager
    def _watch(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            self._ended = True
            raise EOFError from error

    def end(self) -> str:
        """Ends the process and whatever it started; returns how it ended, by itself or so."""
        with suppress(subprocess.TimeoutExpired):  # its end shows a moment before it is over
            self._process.wait(LOOK if self._ended else 0.0)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        code = self._process.wait()
        self._connection.close()
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"


class LocalPool:
    """Runs jobs in one long-lived process, which is started again when it ends or is ended.

    So a job can neither end nor change the caller's process.
    """

    slots = 1

    def __init__(self, workers: Workers):
        self._limit = Limit(workers.timeout)
        self._jobs: deque[Job] = deque()
        self._failed_starts = 0
        self._start()

    def submit(self, job: Job) -> None:  # noqa: D102
        self._jobs.append(job)

    def wait(self, timeout: float) -> list[Outcome]:  # noqa: D102
        end = time.monotonic() + timeout
        while self._jobs:
            try:
                outcome = self._step(min(end - time.monotonic(), LOOK))
            except EOFError:
                outcome = self._restart("worker", "the worker process ended")
            if outcome is not None:
                self._jobs.popleft()
                self._running = False
                return [outcome]
            if time.monotonic() >= end:
                break
        return []

    def expected(self) -> list[tuple[Job, float]]:  # noqa: D102
        return [(self._jobs[0], self._expected)] if self._running and self._expected else []

    def close(self) -> None:  # noqa: D102
        self._jobs.clear()
        self._worker.end()

    def _start(self) -> None:
        self._worker = Worker()
        self._running = False  # whether the process has the first job
        self._begun, self._expected = time.monotonic(), 0.0

    def _step(self, patience: float) -> Outcome | None:
        """Brings the first job forward; returns what became of it, if it ended within `patience` seconds.

        Raises:
            EOFError: the process has ended.
        """
        if self._worker.ready and not self._running:
            self._worker.send(self._jobs[0])
            self._running, self._begun, self._expected = True, time.monotonic(), 0.0
        said = self._worker.receive(patience)
        if said is not None:
            kind, value = said
            if kind == "outcome":
                if value.error is None:
                    self._limit.saw(time.monotonic() - self._begun)
                return value
            if kind == "pace":
                self._expected = value
            else:
                self._worker.ready, self._failed_starts = True, 0
        limit = self._limit.of(self._expected) if self._running else START
        if time.monotonic() - self._begun < limit:
            return None
        return self._restart("time", f"it took more than {limit:.0f} s (workers.timeout)")

    def _restart(self, fault: Fault, error: str) -> Outcome | None:
        """Puts a new process in the place of one that ended or hangs; says so of the job that it had."""
        had_job, was_ready = self._running, self._worker.ready
        how = self._worker.end()
        if fault == "worker":
            error = f"{error} ({how})"
        if not was_ready:
            self._failed_starts += 1
            if self._failed_starts == STARTS:
                raise WorkersLost(f"the worker process does not start: {error}")
        self._start()
        return Outcome(job=self._jobs[0], error=error, fault=fault) if had_job else None
