"""Where jobs run: the settings, and what every pool can do."""

from dataclasses import dataclass
from functools import partial
from typing import Protocol

from search_space import limits
from search_space.checks import not_negative, or_none, positive, positive_number
from search_space.errors import InputError
from workers.jobs import Job, Outcome

SHARE = 0.01
"""The smallest part of a core or GPU that a run may take."""


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Where and how widely runs are spread.

    Args:
        pool: "ray" (every core of this machine, or a cluster) or "local" (one after the other, in one process beside
            this one).
        count: most runs at once; null means as many as the cluster has room for.
        cpus: cores a run takes.
        gpus: GPUs a run takes; a fraction lets several runs share one.
        address: of a running Ray cluster ("auto", "ray://host:10001"), which has to ask for a token; null starts Ray
            on this machine, out of reach of others.
        timeout: seconds after which a job is ended; null means ten times what its first steps, or the longest job so
            far, lead to expect, and at least five minutes.
    """

    pool: str = "ray"
    count: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    address: str | None = None
    timeout: float | None = None

    def __post_init__(self):
        if self.pool not in ("ray", "local"):
            raise InputError("workers.pool", self.pool, "ray or local")
        or_none(partial(positive, most=limits.WORKERS), "workers.count", self.count)
        positive_number("workers.cpus", self.cpus)
        not_negative("workers.gpus", self.gpus)
        for name, amount in (("cpus", self.cpus), ("gpus", self.gpus)):
            if amount and not SHARE <= amount <= limits.WORKERS:
                raise InputError(f"workers.{name}", amount, f"a positive number from {SHARE} to {limits.WORKERS}")
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise InputError("workers.gpus", self.gpus, "whole GPUs, or a share of one")
        or_none(positive_number, "workers.timeout", self.timeout)
        if self.address is not None and not self.address.strip():
            raise InputError("workers.address", self.address, "an address such as auto or HOST:6379, or null")


class Pool(Protocol):
    """Takes jobs and gives back outcomes, in whatever order they end."""

    slots: int

    def submit(self, job: Job) -> None:
        """Hands a job over; at most `slots` are taken at a time."""

    def wait(self, timeout: float) -> list[Outcome]:
        """The jobs that ended, waiting at most `timeout` seconds for the first.

        Raises:
            WorkersLost: the workers are gone and cannot be had again; nothing more will come of the jobs.
        """

    def expected(self) -> list[tuple[Job, float]]:
        """The jobs that run, with the seconds that each will take in all; only those whose first steps are done."""

    def close(self) -> None:
        """Gives up what is still running."""
