"""Several searches on one front: whether they may be compared, what each adds, and which layout comes from where."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.config import Config
from nas.results.comparison_text import comparison_csv, comparison_tables
from nas.results.front import record
from nas.results.pareto import hypervolume
from nas.results.standing import mark_front
from nas.results.table import Table
from nas.results.trials import Trial, find_objectives, front_of, losses_of
from search_space.errors import InputError
from search_space.files import reason, write_text
from search_space.layouts.layout import Layout
from search_space.scale import FOLLOWED

if TYPE_CHECKING:
    from pandas import DataFrame

MARGIN = 0.05
"""How far the reference of the hypervolumes lies beyond the worst layout of all, in ranges of an objective: so that
the layout that is best in one and worst in another counts as well."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one of the searches did.

    Args:
        name: of the search's folder.
        layouts: that it trained to their end.
        runs: of these.
        on_front: how many of them are on the front of all.
        hypervolume: what they beat.
    """

    name: str
    layouts: int
    runs: int
    on_front: int
    hypervolume: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Several searches on one front.

    A layout that several searches trained is one trial here, with the runs of all (of equal seeds the first). So what
    is said of a search is said of the layouts that it found, by all that is known of them.

    Args:
        config: what the searches have in common.
        parts: the searches.
        trials: the layouts of all that were trained to their end, by numbers of their own.
        found_by: number of a trial -> name of a search and the trial's number there, for each that tried it.
        reference: objective -> the value up to which hypervolumes count.
        hypervolume: of all searches together: the share of the box between the best values of all and the reference,
            on the scales of the objectives (costs by their logarithm).
    """

    config: Config
    parts: tuple[Part, ...]
    trials: tuple[Trial, ...]
    found_by: Mapping[int, Mapping[str, int]]
    reference: Mapping[str, float]
    hypervolume: float

    @property
    def members(self) -> list[Trial]:
        """The front of all, best first in the first cost objective."""
        return front_of(self.trials, self.config.search.objectives)

    def front(self) -> "DataFrame":
        """The front of all: a row for each layout, and who found it."""
        from pandas import DataFrame

        return DataFrame(self.rows())

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "comparable": True,
            "objectives": list(self.config.search.objectives),
            "target": self.config.target.description,
            "reference": dict(self.reference),
            "hypervolume": self.hypervolume,
            "searches": [asdict(part) for part in self.parts],
            "points": [
                {**row, "design": trial.design.to_dict()} for row, trial in zip(self.rows(), self.members, strict=True)
            ],
        }

    def to_json(self) -> str:
        """As JSON."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def to_csv(self) -> str:
        """The front of all, a layout a line; a column for each search has the number that the layout has there."""
        return comparison_csv(self)

    def tables(self) -> list[Table]:
        """For people."""
        return comparison_tables(self)

    def to_table(self) -> str:
        """The same as text."""
        return "\n".join(table.to_text() for table in self.tables())

    def to_svg(self) -> str:
        """As a picture: the layouts of each search, its front, and the front of all."""
        from tracking.picture.comparison import draw_comparison

        names = {part.name: {n for n, found in self.found_by.items() if part.name in found} for part in self.parts}
        records = [record(trial, self.config) for trial in self.trials]
        objectives, file = find_objectives(self.config.search.objectives), io.BytesIO()
        draw_comparison(records, names, file, objectives=objectives, target=self.config.target.description)
        return file.getvalue().decode()

    def draw(self, path: str | Path) -> None:
        """Writes the picture.

        Raises:
            InputError: the file cannot be written.
        """
        try:
            write_text(path, self.to_svg())
        except OSError as error:
            raise InputError("-o", path, f"a file that can be written ({reason(error)})") from error

    def rows(self) -> list[dict[str, Any]]:
        """The front of all as plain data."""
        return [
            {
                "origin": trial.name,
                **{name: trial.value(name) for name in self.config.search.objectives},
                "seeds": len(trial.seeds),
                "confidence": trial.confidence,
                "found_by": dict(self.found_by[trial.number]),
                "layout": str(trial.design),
            }
            for trial in self.members
        ]


@dataclass(frozen=True)
class Searched:
    """One of the searches.

    Args:
        config: for which its layouts are priced.
        trials: all of it.
        own: the configuration that it searched with, where that is another.
    """

    config: Config
    trials: Sequence[Trial]
    own: Config | None = None


def compare(searches: Mapping[str, Searched]) -> Comparison:
    """Puts several searches on one front.

    Args:
        searches: by their names.

    Raises:
        InputError: there are fewer than two, they may not be compared, or nothing was trained to its end.
    """
    names = list(searches)
    if len(names) < 2:
        raise InputError("DIR", ", ".join(names) or "nothing", "two searches or more")
    config = searches[names[0]].config
    for name in names[1:]:
        _check_comparable(searches[names[0]], searches[name], names[0], name)
    pooled, found_by = _pooled(searches)
    if not pooled:
        raise InputError("DIR", ", ".join(names), "searches with at least one layout that was trained to its end")
    objectives = config.search.objectives
    mark_front(pooled, objectives)
    losses = losses_of(pooled, objectives)
    best, span = losses.min(0), np.ptp(losses, 0)
    scaled = (losses - best) / np.where(span > 0, span, 1.0)
    corner = np.full(len(objectives), 1 + MARGIN)

    def beaten(of: Sequence[bool]) -> float:
        return hypervolume(scaled[np.array(of, bool)], corner) / float(corner.prod()) if any(of) else 0.0

    parts = []
    for name in names:
        mine = [name in found_by[trial.number] for trial in pooled]
        own = [trial for trial in searches[name].trials if trial.state == "complete"]
        parts.append(
            Part(
                name=name,
                layouts=sum(mine),
                runs=sum(len(trial.seeds) for trial in own),
                on_front=sum(trial.on_front for trial, is_mine in zip(pooled, mine, strict=True) if is_mine),
                hypervolume=beaten(mine),
            )
        )
    return Comparison(
        config=config,
        parts=tuple(parts),
        trials=tuple(pooled),
        found_by=found_by,
        reference=_reference(objectives, losses.max(0) + MARGIN * np.where(span > 0, span, 1.0)),
        hypervolume=beaten([True] * len(pooled)),
    )


def _check_comparable(one: Searched, other: Searched, first: str, second: str) -> None:
    """Raises InputError where values of two searches do not mean the same; names the first key that differs."""
    mine, theirs = _meaning(one), _meaning(other)
    for key in dict.fromkeys([*mine, *theirs]):
        if mine.get(key) != theirs.get(key):
            expected = f"{mine.get(key)} as in {first}: values of {second} and of {first} do not mean the same"
            raise InputError(key, theirs.get(key), expected)


def _meaning(searched: Searched) -> dict[str, Any]:
    """Dotted key -> value of all that a search's values depend on: of the target, prices on that of
    now, and proxies on that which was searched with. On which device it trained is left out, as all
    compute the same; where searches differ in precision by that, the spread between seeds is larger."""
    config, own = searched.config, asdict((searched.own or searched.config).target)
    parts: dict[str, Any] = {
        "search.objectives": sorted(config.search.objectives),
        "space.layers": config.space.layers,
        "target": {**asdict(config.target), **{name: own[name] for name in FOLLOWED}},
        "proxy": asdict(config.proxy),
        "training": asdict(config.training),
        "tasks": config.all_tasks,
    }
    del parts["training"]["device"]
    found: dict[str, Any] = {}
    for key, value in parts.items():
        found |= {f"{key}.{name}": each for name, each in value.items()} if isinstance(value, dict) else {key: value}
    return found


def _pooled(searches: Mapping[str, Searched]) -> tuple[list[Trial], dict[int, dict[str, int]]]:
    """The layouts of all searches, each once with all its runs, and who tried which."""
    pooled: dict[tuple[Layout, Layout], Trial] = {}
    found_by: dict[int, dict[str, int]] = {}
    for name, searched in searches.items():
        for trial in searched.trials:
            if trial.state != "complete":
                continue
            known = pooled.get((trial.layout, trial.design))
            if known is None:
                number = len(pooled)
                known = replace(trial, number=number, results=[], failures=[], on_front=False, confidence=0.0)
                pooled[trial.layout, trial.design], found_by[number] = known, {}
            known.results += [r for r in trial.results if r.seed not in known.seeds]
            found_by[known.number][name] = trial.number
    return list(pooled.values()), found_by


def _reference(objectives: Sequence[str], losses: np.ndarray) -> dict[str, float]:
    """Losses as values."""
    found = {}
    for (name, objective), loss in zip(find_objectives(objectives).items(), losses, strict=True):
        signed = loss if objective.better == "low" else -loss
        found[name] = float(np.exp(signed)) if objective.ratio else float(signed)
    return found
