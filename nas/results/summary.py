"""summary.json: how a search stands, for whoever only asks that.

The record says the same, but reading 10,000 runs takes seconds, and the prices of their layouts need torch. So the
summary is kept beside it while a search runs, and made anew from the record by the first reader who finds it missing or
out of date. This module imports nothing heavy.
"""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path

from nas.results.table import Table
from nas.version import VERSION
from search_space.errors import InputError
from search_space.files import read_text, write_text

SUMMARY, CONFIG, RUNS, AUDIT = "summary.json", "config.yaml", "runs.jsonl", "audit.jsonl"
SOURCES = (CONFIG, RUNS)
"""What a summary follows from."""
FORMS = ("table", "json", "csv")
"""Of a front that is printed."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How far a search is, and its front.

    Args:
        states: "complete", "diverged" and "failed" -> number of trials.
        runs: runs that ended; a trial has one for each seed.
        lost: runs that were lost with the place where they ran, and are tried again.
        elapsed: seconds spent.
        seconds: the budget of seconds; None without one.
        most_trials: the budget of layouts; None without one.
        front: "json" and "csv" -> the front in this form.
        table: the front for people.
    """

    states: dict[str, int]
    runs: int
    lost: int
    elapsed: float
    seconds: float | None
    most_trials: int | None
    front: dict[str, str]
    table: Table


Stamp = list[list[int]]
"""Size and time of each of the sources."""


def stamp(path: Path) -> Stamp:
    """That of the folder's sources as they are now; a file that is not there has none."""
    found: Stamp = []
    for name in SOURCES:
        try:
            stat = (path / name).stat()
            found.append([stat.st_size, stat.st_mtime_ns])
        except OSError:
            found.append([])
    return found


def read_summary(path: Path) -> Summary | None:
    """The summary in a folder; None where it is missing, out of date, of another version, or no text for a terminal."""
    try:
        found = json.loads(read_text(path / SUMMARY, "DIR"))
        if found.pop("version") != VERSION or found.pop("stamp") != stamp(path):
            return None
        summary = Summary(**{**found, "table": Table.from_dict(found["table"])})
        return summary if _is_sound(summary) else None
    except (InputError, OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _is_sound(summary: Summary) -> bool:
    """Whether what was read has the right types, and is text that a terminal shows as it is: folders get handed on."""
    counts = (*summary.states.values(), summary.runs, summary.lost)
    numbers = (summary.elapsed, summary.seconds or 0, summary.most_trials or 0)
    texts = "".join((*summary.states, *(summary.front[form] for form in FORMS if form != "table")))
    return (
        all(type(count) is int for count in counts)
        and all(type(number) in (int, float) and isfinite(number) for number in numbers)
        and texts.replace("\n", "").isprintable()
    )


def write_summary(path: Path, summary: Summary, of: Stamp) -> None:
    """Writes it into the folder; one that takes nothing keeps its old one, which is out of date.

    Args:
        path: of the folder.
        summary: to be written.
        of: the stamp of the sources that it was made from, taken before they were read.
    """
    with suppress(OSError):
        write_text(path / SUMMARY, json.dumps({"version": VERSION, "stamp": of, **asdict(summary)}))
