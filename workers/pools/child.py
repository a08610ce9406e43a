"""The process that the local pool runs jobs in: `python -m workers.pools.child FD PARENT`."""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Literal

import torch

from workers.jobs import Outcome, run_job

Message = tuple[Literal["ready", "pace", "outcome"], float | Outcome]
"""What the child says: it can take jobs; the seconds that the present one is expected to take; what became of it."""

PR_SET_PDEATHSIG = 1


def main(connection: Connection, parent: int) -> None:
    """Runs the jobs that come in over `connection` until it is closed."""
    _end_with(parent)
    connection.send(("ready", 0.0))
    while True:
        job = connection.recv()
        outcome = run_job(job, lambda seconds: connection.send(("pace", seconds)))
        connection.send(("outcome", outcome))
        if outcome.error is not None and torch.cuda.is_initialized():
            return  # an error may leave CUDA unusable; the next job gets a new process


def _end_with(parent: int) -> None:
    """Lets the system end this process with its parent, however that ends and whatever goes on here."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()


if __name__ == "__main__":
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent is gone
        main(Connection(int(sys.argv[1])), int(sys.argv[2]))
