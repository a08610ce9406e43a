"""What is made of a search's record, and kept in its folder until there is more on record."""

import json
import math
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nas.results.summary import AUDIT, SOURCES
from nas.service.folders import Place
from nas.version import VERSION
from search_space.files import write_text

if TYPE_CHECKING:
    import nas

TRIALS, REPORT = "trials.json", "report.html"


def kept(place: Place, name: str, make: Callable[[], str]) -> str:
    """A text from the folder of a search, made anew where it is older than the record, or another version's."""
    path, stamp = place.own / f"{VERSION}-{name}", _stamp(place.path)
    with suppress(OSError):
        if path.stat().st_mtime_ns == stamp:
            return path.read_text(encoding="utf-8")
    text = make()
    with suppress(OSError):  # a disk that is full costs no answer
        write_text(path, text)
        os.utime(path, ns=(stamp, stamp))
    return text


def trials_json(found: "nas.Search") -> str:
    """The trials of a search by their numbers, as `schemas.TrialShown` describes them."""
    names = found.config.search.objectives
    shown = []
    for trial in found.trials:
        values = {name: trial.value(name) for name in names}
        shown.append(
            {
                "trial": trial.number,
                "origin": trial.name,
                "state": trial.state,
                "layout": str(trial.design),
                "objectives": {name: value if math.isfinite(value) else None for name, value in values.items()},
                "seeds": trial.seeds,
                "on_front": trial.on_front,
                "confidence": trial.confidence,
            }
        )
    return json.dumps(shown)


def _stamp(path: Path) -> int:
    """When the youngest of the files was written that a search is read from, in ns."""
    found = [0]
    for name in (*SOURCES, AUDIT):
        with suppress(OSError):
            found.append((path / name).stat().st_mtime_ns)
    return max(found)
