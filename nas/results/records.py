"""The record of a search: one line of JSON for every run that ended.

Lines are read by the record format (`FORMAT`) that their folder states in config.yaml. A new format gets its own
reader here and the readers of older ones stay, so that a search stays readable for as long as there is a program.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Literal

from nas.config.loading import refuse_imports
from search_space import limits
from search_space.cost.objectives import OBJECTIVES, Objective
from search_space.errors import InputError
from search_space.layouts.block import Block, parse_block
from search_space.layouts.layout import Layout
from search_space.layouts.published import Origin
from workers.jobs import Outcome
from workers.training import Result


@dataclass(frozen=True)
class Failure:
    """Why a run ended without a result.

    Args:
        of: what failed: the layout (it would fail again anywhere), or the place where it ran (a worker that was lost).
        error: what went wrong.
    """

    of: Literal["layout", "place"]
    error: str


@dataclass(frozen=True)
class Proposal:
    """What a proposed layout followed from, beside the search's seed and the number of its trial.

    Args:
        known: how many runs were on record when it was asked for.
        noted: what the sampler noted about it.
    """

    known: int
    noted: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run that ended: one layout, one seed. It holds a result or a failure.

    Args:
        trial: number of its trial; runs of one layout with several seeds share it.
        origin: the published layout that it came from; None where the search proposed it.
        layout: that was trained.
        seed: that it was trained with.
        rung: budget of the run, counted from 0.
        elapsed: seconds of search, over all its sessions, when the run ended; runs that were one job share it.
        result: of a run that was trained.
        failure: of a run that was not.
        proposal: of a layout's first run, if the search proposed it.
        objectives: measured objective of the search -> value, for readers of the file; the program works them out
            from the result.
    """

    trial: int
    origin: Origin | None
    layout: Layout
    seed: int
    rung: int = 0
    elapsed: float
    result: Result | None = None
    failure: Failure | None = None
    proposal: Proposal | None = None
    objectives: Mapping[str, float] = field(default_factory=dict)

    @property
    def lost(self) -> bool:
        """Whether it failed with the place where it ran: such a run uses up no seed and is tried again."""
        return self.failure is not None and self.failure.of == "place"

    @staticmethod
    def of(outcome: Outcome, origin: Origin | None, elapsed: float, objectives: Sequence[str]) -> "list[RunRecord]":
        """The runs of a job, in the order of its seeds.

        Args:
            outcome: what became of the job.
            origin: as in the record.
            elapsed: as in the record.
            objectives: names of the search's objectives; the measured ones are written into the record.
        """
        failure = None if outcome.error is None else Failure("place" if outcome.lost else "layout", outcome.error)
        known = {name: OBJECTIVES.get(name) for name in objectives}
        results = outcome.results or (None,) * len(outcome.job.seeds)
        return [
            RunRecord(
                trial=outcome.job.trial,
                origin=origin,
                layout=outcome.job.layout,
                seed=seed,
                elapsed=elapsed,
                result=result,
                failure=failure,
                objectives={name: value_of(name, o, result) for name, o in known.items() if o.measured and result},
            )
            for seed, result in zip(outcome.job.seeds, results, strict=True)
        ]

    def to_line(self) -> str:
        """As a line of JSON, in the present format."""
        names = ("origin", "result", "failure", "proposal")
        parts = {name: getattr(self, name) for name in names}
        fields = {**vars(self), **{name: part and asdict(part) for name, part in parts.items()}}
        if self.origin is not None:
            fields["origin"] = {"name": self.origin.name, "layout": self.origin.layout.to_dict()}
        return json.dumps({**fields, "layout": self.layout.to_dict()}, default=dict)

    @staticmethod
    def from_line(line: str, record_format: int, trust: bool = True) -> "RunRecord":
        """The record in a line of JSON.

        Args:
            line: one line of the file.
            record_format: the format that the line was written in, a key of `READERS`.
            trust: whether to import dotted paths that the layout names.

        Raises:
            ValueError, LookupError, TypeError, AttributeError, RecursionError: the line is no record of that format.
        """
        fields = _fields(line)
        if not isinstance(fields, dict):
            raise TypeError("no mapping")
        if not trust:
            for where in (fields, fields.get("origin") or {}):
                refuse_imports(where.get("layout"), "layout")
        return READERS[record_format](fields)


def value_of(name: str, objective: Objective, result: Result) -> float:
    """A measured objective's value of one run; of a run that diverged, what the objective says of those.

    Raises:
        InputError: the run lacks it, as one without text lacks the loss on text.
    """
    if result.status == "diverged":
        return objective.diverged
    try:
        return float(objective.of_run(result))  # type: ignore[misc]
    except (KeyError, AttributeError) as error:
        raise InputError("search.objectives", name, f"an objective that the runs have (they lack {error})") from error


class Curves(Mapping[str, list[tuple[int, float]]]):
    """The curves of a result on record. They are most of a record, and few readers look at them: so they stay text
    until somebody does."""

    def __init__(self, text: str):
        self._text = text

    @cached_property
    def _curves(self) -> dict[str, list[tuple[int, float]]]:
        try:
            curves = {name: [(step, value) for step, value in curve] for name, curve in json.loads(self._text).items()}
            _check_numbers([x for curve in curves.values() for point in curve for x in point])
            return curves
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError("curves", self._text[:60], f"curves that a search recorded ({error})") from error

    def __getitem__(self, name: str) -> list[tuple[int, float]]:
        return self._curves[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._curves)

    def __len__(self) -> int:
        return len(self._curves)


CURVES = re.compile(r'"curves": (\{[^{}]*\})')


def _fields(line: str) -> dict[str, Any]:
    """The fields of a line; the curves of its result are left as text."""
    found = CURVES.search(line)
    if found:
        try:
            fields = json.loads(f"{line[: found.start(1)]}null{line[found.end(1) :]}")
        except ValueError:
            fields = {}
        if (fields.get("result") or {}).get("curves", 0) is None:
            fields["result"]["curves"] = Curves(found[1])
            return fields
    # What looks like curves may be something else, as a block may have any name.
    return json.loads(line)


def _read_1(fields: dict[str, Any]) -> RunRecord:
    origin, result, failure = (fields[name] for name in ("origin", "result", "failure"))
    _check(fields, trial=int, seed=int, rung=int, elapsed=float, objectives=dict)
    for name, most in (("trial", limits.COUNT), ("seed", 2 * limits.SEED), ("elapsed", limits.NUMBER)):
        if not 0 <= fields[name] <= most:
            raise ValueError(f"{name} {fields[name]}")
    if origin is not None:
        _check(origin, name=str)
        fields["origin"] = Origin(origin["name"], _layout(origin["layout"]))
    if result is not None:
        _check(result, seed=int, steps=int, status=str, recall=float, accuracy=dict, loss=dict, seconds=float)
        if not 0 <= result["recall"] <= 1 or result["status"] not in ("complete", "paused", "diverged"):
            raise ValueError(f"recall {result['recall']}, status {result['status']}")
        _check_numbers([*result["accuracy"].values(), *result["loss"].values(), result["seconds"]])
        if not isinstance(result["curves"], Curves):
            result["curves"] = Curves(json.dumps(result["curves"]))
        fields["result"] = Result(**result)
    if failure is not None:
        _check(failure, of=str, error=str)
        fields["failure"] = Failure(**failure)
    if fields.get("proposal") is not None:
        _check(fields["proposal"], known=int, noted=dict)
        fields["proposal"] = Proposal(**fields["proposal"])
    return RunRecord(**{**fields, "layout": _layout(fields["layout"])})


def _layout(fields: dict[str, Any]) -> Layout:
    """`Layout.from_dict`; the layouts of a search have the same few blocks, each of which is read once."""
    try:
        blocks = {name: _block(json.dumps(block)) for name, block in fields["blocks"].items()}
        return Layout(tuple([blocks[name] for name in fields["layers"]]))
    except (AttributeError, LookupError, TypeError, InputError):
        return Layout.from_dict(fields)  # which says what is wrong with it


@lru_cache(maxsize=10_000)
def _block(text: str) -> Block:
    return parse_block(json.loads(text), "blocks")


def _check(fields: Mapping[str, Any], **kinds: type) -> None:
    """Raises TypeError for a field of another kind; an integer may stand for a number, a field may be left out."""
    for name, kind in kinds.items():
        value = fields.get(name, kind())
        if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
            raise TypeError(f"{name} {value!r}")


def _check_numbers(values: list[Any]) -> None:
    wrong = next((value for value in values if type(value) not in (int, float)), 0)
    if wrong != 0:
        raise TypeError(f"{wrong!r} for a number")


READERS: dict[int, Callable[[dict[str, Any]], RunRecord]] = {1: _read_1}
"""Record format -> what makes a record of a line's fields."""
