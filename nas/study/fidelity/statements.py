"""Published statements "layout a did better than layout b", read from a CSV file and checked.

`statements.csv` beside this file holds 2,825 of them from 16 sources. They were made from tables of papers and of their
authors' repositories: for each table, every pair of layouts that were trained alike and scored by the same metric.
`second_hand` says y where a cell was read in somebody else's transcription. The noise of a metric is that of the truth
itself: 1.4 residual standard deviations of the table of RULER averages (.06), 2 points of a recall average, 4 of one of
its parts, 15 and 8 of single and multi-key needles, .004 nats, 1% of a perplexity.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from io import StringIO
from math import isfinite
from pathlib import Path

from nas.study.fidelity.source import parse_context
from search_space import limits
from search_space.errors import InputError, one_of
from search_space.files import read_text
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.layouts.notation import parse

COLUMNS = ("source", "axis", "a", "b", "metric", "context", "size", "margin", "noise", "second_hand", "note")
BY_RECALL = ("mixer", "count", "position", "window", "across")
"""What a and b differ in: the mixer at equal places, the number of attention layers, their places, windows, or more."""
BY_LOSS = "-loss"
"""Suffix of an axis whose metric says how well a text is predicted."""
AXES = (*BY_RECALL, *(f"{axis}{BY_LOSS}" for axis in BY_RECALL))
CHOOSE = ("2507.06457", "2412.06464", "2506.05233", "2402.18668")
"""The sources on which tasks and defaults are chosen; the others only judge what was chosen."""
GROUPS = ("choose", "report", "all")
PART = "part"
"""Stands at the head of the note of a statement whose metric is part of an average that is a statement too."""
NAMES = {"gated_deltanet2": "gdn2", "mamba3_siso": "mamba3"}
"""Mixers that the catalogue calls otherwise; its Mamba-3 is the one with a single input and output (SISO)."""
BYTES = 2**26


@dataclass(frozen=True, kw_only=True)
class Statement:
    """Layout `a` did better than layout `b`.

    Args:
        source: where it was published.
        axis: one of `AXES`.
        a: the better layout in short notation, at its published depth.
        b: the other one.
        metric: by which it did better.
        context: tokens of the evaluation, as in 2K; empty where it is not known.
        size: of the models, as in 1.3B; empty where it is not known.
        margin: the difference, in the metric's unit.
        noise: the difference below which the metric tells nothing.
        second_hand: whether it was read in somebody else's transcription.
        note: what was taken for granted.
    """

    source: str
    axis: str
    a: str
    b: str
    metric: str
    context: str
    size: str
    margin: float
    noise: float
    second_hand: bool
    note: str

    @property
    def clear(self) -> bool:
        """Whether the margin reaches the noise, so that the statement counts."""
        return self.margin >= self.noise

    @property
    def by_loss(self) -> bool:
        """Whether a loss on text decides it, and not the recall."""
        return self.axis.endswith(BY_LOSS)

    @property
    def part(self) -> bool:
        """Whether its metric is part of an average that is a statement too."""
        return self.note.partition(";")[0].strip() == PART


def packaged() -> Path:
    """The statements that come with the package."""
    return Path(str(files("nas.study.fidelity").joinpath("statements.csv")))


def read_statements(path: str | Path | None = None) -> list[Statement]:
    """The statements in a file; by default those that come with the package.

    Raises:
        InputError: the file cannot be read, or a line is no statement; names the file, the line and the column.
    """
    where = packaged() if path is None else path
    rows = csv.reader(StringIO(read_text(where, "STATEMENTS", BYTES), newline=""), strict=True)
    statements: list[Statement] = []
    try:
        header = next(rows, [])
        if tuple(name.strip().lstrip("\ufeff") for name in header) != COLUMNS:
            raise InputError("header", ",".join(header), ",".join(COLUMNS))
        statements += [_statement(row) for row in rows if row]
        if not statements:
            raise InputError("a", "", "at least one statement")
    except csv.Error as error:
        raise InputError(f"{where} line {rows.line_num}", error, "CSV") from error
    except InputError as error:
        raise InputError(f"{where} line {rows.line_num}: {error.key}", error.value, error.expected) from error
    return statements


def of_group(statements: Iterable[Statement], group: str) -> list[Statement]:
    """Those of the sources to choose on, of those to report on, or all.

    Raises:
        InputError: there is no such group, or it has no statement.
    """
    if group not in GROUPS:
        raise InputError("--group", group, one_of(group, list(GROUPS)))
    found = [s for s in statements if group == "all" or (group == "choose") == to_choose_on(s.source)]
    if not found:
        raise InputError("--group", group, "a group that the statements have sources of")
    return found


def to_choose_on(source: str) -> bool:
    """Whether a source is one of `CHOOSE`."""
    return any(number in source for number in CHOOSE)


def _statement(row: list[str]) -> Statement:
    if len(row) != len(COLUMNS):
        raise InputError("columns", len(row), f"{len(COLUMNS)}: {','.join(COLUMNS)}")
    fields = {name: value.strip() for name, value in zip(COLUMNS, row, strict=True)}
    for name in ("source", "metric", "a", "b"):
        if not fields[name] or len(fields[name]) > limits.TEXT:
            raise InputError(name, fields[name], f"a text of 1 to {limits.TEXT} characters")
    if fields["axis"] not in AXES:
        raise InputError("axis", fields["axis"], one_of(fields["axis"], list(AXES)))
    if fields["second_hand"] not in ("y", "n"):
        raise InputError("second_hand", fields["second_hand"], "y or n")
    numbers = {name: _number(name, fields[name]) for name in ("margin", "noise")}
    for name in ("a", "b"):
        fields[name] = _layout(name, fields[name])
    if fields["a"] == fields["b"]:
        raise InputError("b", fields["b"], "another layout than a")
    parse_context(fields["context"])
    return Statement(**{**fields, **numbers, "second_hand": fields["second_hand"] == "y"})  # type: ignore[arg-type]


@lru_cache(maxsize=10_000)
def _layout(name: str, text: str) -> str:
    """The layout in the one form that equal layouts share; whether its mixers are known shows later."""
    try:
        return str(Layout(tuple(_in_the_catalogue(block) for block in parse(text))))
    except InputError as error:
        raise InputError(name, text, error.expected) from error


def _in_the_catalogue(block: Block) -> Block:
    return replace(block, mixer=replace(block.mixer, kind=NAMES.get(block.mixer.kind, block.mixer.kind)))


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not (isfinite(value) and 0 <= value <= limits.NUMBER):
        raise InputError(name, text, "a number, 0 or more")
    return value
