"""Reads the lines of a record, by the record format (`FORMAT`) that their folder states in config.yaml.

A new format gets its own reader here and the readers of older ones stay, so that a search stays readable for as long
as there is a program.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

from nas.config.loading import refuse_imports
from nas.results.records import Failure, Proposal, RunRecord
from search_space import limits
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.layouts.published import Origin
from workers.training import Result

CURVES = '"curves": {'
NUMBER = (int, float)
RUN = {"trial": (int,), "seed": (int,), "rung": (int,), "elapsed": NUMBER, "objectives": (dict,)}
RESULT = {
    "seed": (int,),
    "steps": (int,),
    "status": (str,),
    "recall": NUMBER,
    "accuracy": (dict,),
    "loss": (dict,),
    "seconds": NUMBER,
}
"""Field -> the types that it may have."""
MOST = (("trial", limits.COUNT), ("seed", 2 * limits.SEED), ("elapsed", limits.NUMBER))


class LineReader:
    """Makes records of lines of JSON, all of one file.

    Args:
        record_format: the format that they were written in, a key of `READERS`.
        trust: whether to import dotted paths that their layouts name.
    """

    def __init__(self, record_format: int, trust: bool = True):
        self._read, self._layouts = READERS[record_format], LayoutReader(trust)

    def record(self, line: str) -> RunRecord:
        """The record in a line.

        Raises:
            ValueError, LookupError, TypeError, AttributeError, RecursionError: the line is no record of the format.
        """
        fields = _fields(line)
        if not isinstance(fields, dict):
            raise TypeError("no mapping")
        return self._read(fields, self._layouts)


class LayoutReader:
    """Makes layouts of plain data. Those of a search have the same few blocks, each of which is checked once.

    Args:
        trust: whether to import dotted paths that they name.
    """

    def __init__(self, trust: bool = True):
        self._trust = trust
        self._known: dict[tuple[str, str], Block] = {}

    def __call__(self, fields: Any) -> Layout:
        """The layout.

        Raises:
            InputError: the data is no layout, or names a dotted path and is not trusted.
        """
        try:
            names, blocks = fields["layers"], fields["blocks"]
            if len(fields) == 2 and type(names) is list:
                found = {name: self._known[name, repr(block)] for name, block in blocks.items()}
                return Layout(tuple([found[name] for name in names]))
        except (AttributeError, LookupError, TypeError, InputError):
            pass  # something new, or something wrong, which is said below
        if not self._trust:
            refuse_imports(fields, "layout")
        layout = Layout.from_dict(fields)
        blocks = fields.get("blocks") or {}
        for name, block in zip(fields["layers"], layout.layers, strict=True):
            if name in blocks:
                self._known[name, repr(blocks[name])] = block
        return layout


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


def _fields(line: str) -> Any:
    """The fields of a line; the curves of its result are left as text."""
    begin = line.find(CURVES) + len(CURVES) - 1
    end = line.find("}", begin) + 1
    if begin >= len(CURVES) and end and line.find("{", begin + 1, end) < 0:
        try:
            fields = json.loads(f"{line[:begin]}null{line[end:]}")
        except ValueError:
            fields = {}
        if (fields.get("result") or {}).get("curves", 0) is None:
            fields["result"]["curves"] = Curves(line[begin:end])
            return fields
    # What looks like curves may be something else, as a block may have any name.
    return json.loads(line)


def _read_1(fields: dict[str, Any], layouts: LayoutReader) -> RunRecord:
    origin, result, failure = fields["origin"], fields["result"], fields["failure"]
    _check(fields, RUN)
    for name, most in MOST:
        if not 0 <= fields[name] <= most:
            raise ValueError(f"{name} {fields[name]}")
    if origin is not None:
        _check(origin, {"name": (str,)})
        fields["origin"] = Origin(origin["name"], layouts(origin["layout"]))
    if result is not None:
        _check(result, RESULT)
        if not 0 <= result["recall"] <= 1 or result["status"] not in ("complete", "paused", "diverged"):
            raise ValueError(f"recall {result['recall']}, status {result['status']}")
        _check_numbers([*result["accuracy"].values(), *result["loss"].values(), result["seconds"]])
        if type(result["curves"]) is not Curves:
            result["curves"] = Curves(json.dumps(result["curves"]))
        fields["result"] = Result(**result)
    if failure is not None:
        _check(failure, {"of": (str,), "error": (str,)})
        fields["failure"] = Failure(**failure)
    if fields.get("proposal") is not None:
        _check(fields["proposal"], {"known": (int,), "noted": (dict,)})
        fields["proposal"] = Proposal(**fields["proposal"])
    fields["layout"] = layouts(fields["layout"])
    return RunRecord(**fields)


def _check(fields: Mapping[str, Any], kinds: Mapping[str, tuple[type, ...]]) -> None:
    """Raises TypeError for a field of another type; a field may be left out."""
    for name, kind in kinds.items():
        if name in fields and type(fields[name]) not in kind:
            raise TypeError(f"{name} {fields[name]!r}")


def _check_numbers(values: list[Any]) -> None:
    if not {*map(type, values)} <= {int, float}:
        wrong = next(value for value in values if type(value) not in NUMBER)
        raise TypeError(f"{wrong!r} for a number")


READERS: dict[int, Callable[[dict[str, Any], LayoutReader], RunRecord]] = {1: _read_1}
"""Record format -> what makes a record of a line's fields."""
