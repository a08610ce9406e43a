"""Where the processes of searches run: on the server's machine, or as jobs of a Ray cluster."""

import os
import secrets
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nas.config.loading import load_written
from nas.service.folders import Place, born, host
from nas.service.settings import Settings
from nas.service.tables import Search
from search_space.errors import InputError


@dataclass(frozen=True)
class Look:
    """How the process that was started last is.

    Args:
        alive: whether it is under way.
        code: its exit code, if that is known.
        lost: whether it was lost with the place where it ran, and so is not to blame.
    """

    alive: bool
    code: int | None = None
    lost: bool = False


class Runner(Protocol):
    """Starts processes, which outlive the server."""

    def start(self, search: Search, place: Place) -> None:
        """Starts the process of a search.

        Raises:
            OSError: it cannot be started; `look` tells what became of it.
        """

    def look(self, place: Place) -> Look:
        """How the process is that was started last.

        Raises:
            OSError: that cannot be told now.
        """

    def forget(self, place: Place) -> None:
        """Of a process that has ended nothing more is asked."""

    def kill(self, place: Place) -> None:
        """Ends a process by force, if it can be reached from here."""


def runner_of(settings: Settings) -> Runner:
    """The one that the settings ask for.

    Raises:
        InputError: Ray is not there, or no token for it.
    """
    return Here(settings.trust) if settings.jobs is None else OnRay(settings.jobs, settings.trust)


class Here:
    """Detached processes of this machine."""

    def __init__(self, trust: bool):
        self.trust = trust
        self.started: dict[Path, subprocess.Popen] = {}

    def start(self, search: Search, place: Place) -> None:
        """As `Runner.start`."""
        with place.log.open("ab") as log:
            self.started[place.path] = subprocess.Popen(
                _command(place, self.trust),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=place.path,
                env={**os.environ, **_environment()},
                start_new_session=True,
            )

    def look(self, place: Place) -> Look:
        """As `Runner.look`; of processes that another server started nothing is known."""
        process = self.started.get(place.path)
        code = None if process is None else process.poll()
        return Look(process is not None and code is None, code)

    def forget(self, place: Place) -> None:
        """As `Runner.forget`."""
        self.started.pop(place.path, None)

    def kill(self, place: Place) -> None:
        """As `Runner.kill`."""
        process = place.process
        if process and process.host == host() and process.born and process.born == born(process.pid):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


class OnRay:
    """Jobs of a Ray cluster, whose nodes have the same program and see the same folder.

    Ray keeps them in order, finds room for them and kills them with their node. A search that spreads its runs by Ray
    does so over the same cluster.
    """

    def __init__(self, address: str, trust: bool):
        from workers.pools.ray_jobs import RayJobs

        try:
            self.jobs, self.trust = RayJobs(address), trust
        except InputError as error:
            raise InputError("jobs", address, error.expected) from error

    def start(self, search: Search, place: Place) -> None:
        """As `Runner.start`."""
        place.job = identity = f"nas-{search.id}-{secrets.token_hex(4)}"
        spread = load_written(place.path / "config.yaml", (), self.trust).workers.pool == "ray"
        cores, gpus = (0, 0) if spread else (search.cores, search.gpus)  # its tasks ask for theirs
        command = [*_command(place, self.trust), "--address", "auto", "--job", identity]
        self.jobs.submit(identity, command, place.log, _environment(), cores, gpus)

    def look(self, place: Place) -> Look:
        """As `Runner.look`, whichever server started it."""
        job = place.job
        alive, code = (False, None) if job is None else self.jobs.look(job)
        return Look(alive, code, lost=job is not None and not alive and code is None)

    def forget(self, place: Place) -> None:
        """As `Runner.forget`."""
        place.job = None

    def kill(self, place: Place) -> None:
        """As `Runner.kill`. A job that waits for room cannot be ended: it does nothing when it finds some."""
        if place.job is not None:
            self.jobs.stop(place.job)
            place.job = None


def _command(place: Place, trust: bool) -> list[str]:
    return [sys.executable, "-P", "-m", "nas.service.child", str(place.path), *["--trust"] * trust]


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path)}
