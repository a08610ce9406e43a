"""What is under way in a search: running.json in its folder, while a process searches there."""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass

from nas.results.folder import Folder


@dataclass(frozen=True, kw_only=True)
class RunningJob:
    """A job under way.

    Args:
        trial: number of its trial.
        layout: in short.
        seeds: that it is trained with.
        since: when it was handed to the workers, in seconds since 1970.
    """

    trial: int
    layout: str
    seeds: tuple[int, ...]
    since: float


def write_running(folder: Folder, jobs: Iterable[RunningJob]) -> None:
    """Replaces what the file says, as a whole; a disk that does not take it costs no search."""
    new = folder.running_jobs.with_suffix(".new")
    with suppress(OSError):
        new.write_text(json.dumps([asdict(job) for job in jobs]))
        new.replace(folder.running_jobs)


def clear_running(folder: Folder) -> None:
    """Removes the file when the search ends."""
    with suppress(OSError):
        folder.running_jobs.unlink(missing_ok=True)


def read_running(folder: Folder) -> list[RunningJob]:
    """The jobs under way; none where no process searches, whatever one that was killed left behind."""
    if not folder.running():
        return []
    try:
        jobs = json.loads(folder.running_jobs.read_text())
        return [RunningJob(**{**job, "seeds": tuple(job["seeds"])}) for job in jobs]
    except (OSError, ValueError, KeyError, TypeError):
        return []
