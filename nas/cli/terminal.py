"""Prints tables: on a terminal in its width and with colours, plain where there is none or NO_COLOR is set."""

import os
import re
import sys
import textwrap
from typing import TYPE_CHECKING, TextIO

import click

from nas.results.table import Row, Table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

CELL = "■"
"""A layer."""
NARROWEST = 40


def show(*tables: Table) -> None:
    """Prints tables to standard output, with an empty line between them."""
    if not sys.stdout.isatty():
        click.echo("\n".join(table.to_text() for table in tables), nl=False)
        return
    console = open_console(sys.stdout)
    for place, table in enumerate(tables):
        if place:
            console.print()
        console.print(drawn(table, console.width, console.color_system is not None), soft_wrap=True)


def open_console(file: TextIO) -> "Console":
    """The terminal behind a stream; imports rich, which a pipe does without."""
    from rich.console import Console

    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return Console(file=file, highlight=False, markup=False, emoji=False, color_system=None if plain else "auto")


def drawn(table: Table, width: int, coloured: bool) -> "Text":
    """A table in lines of at most `width` characters.

    A row's text stands behind its cells where it fits, else below them. With colours, layers are cells above it.
    """
    from rich.text import Text

    width = max(width, NARROWEST)
    lines = [Text(line, style="dim") for text in table.above for line in _wrapped(text, width)]
    if table.head:
        lines.append(Text(f"{table.begin(table.head.cells)}{table.head.text}".rstrip(), style="bold"))
    for row in table.rows:
        lines += _row(table, row, width, coloured)
    lines += [Text(line, style="dim") for text in table.below for line in _wrapped(text, width)]
    return Text("\n").join(lines)


def _row(table: Table, row: Row, width: int, coloured: bool) -> "list[Text]":
    from rich.text import Text

    begin = table.begin(row.cells)
    under = " " * (table.widths[0] + table.gap if row.cells else 0)
    room = width - len(under)
    cells = [Text(CELL, style=table.colours.get(layer, "")) for layer in row.layers * coloured]
    if cells and table.cut:
        return [Text.assemble(begin, *cells[: width - len(begin)])]
    if not cells and (table.cut or len(begin) + len(row.text) <= width):
        line = f"{begin}{row.text}".rstrip()
        return [_coloured(table, line if len(line) <= width else f"{line[: width - 1]}…", row, coloured)]
    lines = [_coloured(table, under + line, row, coloured) for line in _wrapped(row.text, room)]
    first = _coloured(table, begin.rstrip(), row, coloured)
    if cells and len(begin) + len(cells) <= width:
        return [Text.assemble(first, begin[len(first) :], *cells), *lines]
    strips = [Text.assemble(under, *cells[i : i + room]) for i in range(0, len(cells), room)]
    return [*([first] if row.cells else []), *strips, *lines]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]


def _coloured(table: Table, line: str, row: Row, coloured: bool) -> "Text":
    """A line of a row in which names have their colours; a heading is bold."""
    from rich.text import Text

    text = Text(line, style="" if row.cells or row.layers else "bold")
    if coloured and table.colours:
        names = "|".join(map(re.escape, sorted(table.colours, key=len, reverse=True)))
        for match in re.finditer(rf"(?<![\w.:])(?:{names})(?![\w(])", line):
            text.stylize(table.colours[match[0]], *match.span())
    return text
