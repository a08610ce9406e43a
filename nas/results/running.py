"""What is under way in a search: running.json in its folder, while a process searches there."""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass

from nas.results.folder import Folder
from search_space.files import read_text, write_text


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
    with suppress(OSError):
        write_text(folder.running_jobs, json.dumps([asdict(job) for job in jobs]))


def clear_running(folder: Folder) -> None:
    """Removes the file when the search ends."""
    with suppress(OSError):
        folder.running_jobs.unlink(missing_ok=True)


def read_running(folder: Folder) -> list[RunningJob]:
    """The jobs under way; none where no process searches, whatever one that was killed left behind."""
    if not folder.running():
        return []
    try:
        jobs = json.loads(read_text(folder.running_jobs, "DIR"))
        return [
            RunningJob(
                trial=int(job["trial"]),
                layout=str(job["layout"]),
                seeds=tuple(map(int, job["seeds"])),
                since=float(job["since"]),
            )
            for job in jobs
        ]
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return []
