"""A table for people as plain data, which a terminal draws in its width and colours, and a pipe gets line by line.

This module imports nothing heavy.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

COLOUR = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a table; without cells it is a heading inside it.

    Args:
        cells: one for each column.
        text: what follows them, of any length, such as a layout in short.
        layers: of this layout, one after the other; a terminal with colours draws them.
    """

    cells: tuple[str, ...] = ()
    text: str = ""
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table for people.

    Args:
        heads: of the columns, and of the text where there is one more; none at all leave the line out.
        rows: of the table.
        above: lines before it.
        below: lines after it.
        words: columns that are no numbers, which begin at their left.
        cut: whether a row is one line on a terminal: layers in place of the text, or the text as far as it fits.
        gap: spaces between columns.
        colours: what is drawn in a colour wherever it occurs -> the colour, as in #0072b2.
    """

    heads: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    above: tuple[str, ...] = ()
    below: tuple[str, ...] = ()
    words: tuple[int, ...] = ()
    cut: bool = False
    gap: int = 2
    colours: Mapping[str, str] = field(default_factory=dict)

    @property
    def widths(self) -> list[int]:
        """Of the columns."""
        rows = [row.cells for row in self.rows if row.cells]
        count = max(map(len, rows), default=0)
        return [max(map(len, column)) for column in zip(self.heads[:count] or [""] * count, *rows, strict=True)]

    def begin(self, cells: Sequence[str]) -> str:
        """Cells in their columns, up to where the text begins."""
        sides = zip(cells, self.widths, range(len(cells)), strict=bool(cells))
        parts = [cell.ljust(width) if place in self.words else cell.rjust(width) for cell, width, place in sides]
        return "".join(part + " " * self.gap for part in parts)

    @property
    def head(self) -> Row | None:
        """The heads as a row, if there are any."""
        columns = len(self.widths)
        return Row(cells=self.heads[:columns], text="".join(self.heads[columns:])) if self.heads else None

    def to_text(self) -> str:
        """As lines, one for each row."""
        rows = [self.head, *self.rows] if self.head else self.rows
        lines = [f"{self.begin(row.cells)}{row.text}".rstrip() for row in rows]
        return "".join(f"{line}\n" for line in (*self.above, *lines, *self.below))

    def noting(self, line: str) -> "Table":
        """The table with a further line below it."""
        return replace(self, below=(*self.below, line))

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> "Table":
        """The table that `dataclasses.asdict` made plain data of, whoever kept it.

        Raises:
            ValueError, LookupError, TypeError, AttributeError: it is none, or holds what is no text for a terminal.
        """
        found = Table(
            heads=_texts(fields["heads"]),
            rows=tuple(
                Row(cells=_texts(row["cells"]), text=_text(row["text"]), layers=_texts(row["layers"]))
                for row in fields["rows"]
            ),
            above=_texts(fields["above"]),
            below=_texts(fields["below"]),
            words=tuple(map(int, fields["words"])),
            cut=bool(fields["cut"]),
            gap=len(" " * min(8, int(fields["gap"]))),
            colours={_text(name): colour for name, colour in fields["colours"].items() if COLOUR.fullmatch(colour)},
        )
        _ = found.widths  # as many cells in each row
        return found


def _text(value: Any) -> str:
    if type(value) is not str or not value.isprintable():
        raise ValueError(f"{value!r} is no text for a terminal")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if type(values) not in (list, tuple):
        raise TypeError(f"{values!r} is no list")
    return tuple(_text(value) for value in values)
