"""What is under way in a search: running.json in its folder, while a process searches there.

This module imports nothing heavy.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from nas.results.table import Row, Table
from search_space.errors import line
from search_space.files import read_text, write_text

RUNNING, LOCK = "running.json", ".lock"


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


def running_table(jobs: Sequence[RunningJob], colours: Mapping[str, str]) -> Table:
    """What is under way, for people.

    Args:
        jobs: under way.
        colours: of layers, as in `Table`.
    """
    rows = []
    for job in jobs:
        seeds, seconds = ", ".join(map(str, job.seeds)), time.time() - job.since
        rows.append(Row(cells=(str(job.trial), seeds, f"{seconds:.0f} s"), text=line(job.layout, 2000)))
    return Table(heads=("trial", "seed", "for", "running"), rows=tuple(rows), colours=colours)


def is_running(path: Path) -> bool:
    """Whether a process is searching in a folder; looks without writing anything."""
    if not (path / LOCK).is_file():
        return False
    held = FileLock(path / LOCK)
    try:
        held.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # not ours to look at
        return False
    held.release()
    return False


def write_running(path: Path, jobs: Iterable[RunningJob]) -> None:
    """Replaces what the file in a search's folder says, as a whole; a disk that does not take it costs no search."""
    with suppress(OSError):
        write_text(path / RUNNING, json.dumps([asdict(job) for job in jobs]))


def clear_running(path: Path) -> None:
    """Removes the file when the search ends."""
    with suppress(OSError):
        (path / RUNNING).unlink(missing_ok=True)


def read_running(path: Path) -> list[RunningJob]:
    """The jobs under way; none where no process searches, whatever one that was killed left behind."""
    if not is_running(path):
        return []
    try:
        jobs = json.loads(read_text(path / RUNNING, "DIR"))
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
