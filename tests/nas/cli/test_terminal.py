"""Tables in the width and colours of a terminal, and plain where there is none."""

import io
import os
import re
import sys

import pytest
from rich.console import Console

from nas.cli.terminal import CELL, drawn, open_console, show
from nas.results.table import Row, Table

LONG = "gla attention gla*2 attention*2 gla sliding_window(window=512) gla*3 attention*2 gla attention gla*2"
BLOCK = ("gla", "gla", "attention")
TABLE = Table(
    heads=("trial", "recall", "decode_ms", "seeds", "confidence", "layout"),
    rows=(
        Row(cells=("0", "0.988", "16.16", "1", "100%"), text="(gla*2 attention)*8", layers=BLOCK * 8),
        Row(cells=("10", "0.98", "1", "12", "9%"), text=LONG, layers=("gla", "attention") * 24),
        Row(text="published layouts that are not on the front:"),
        Row(cells=("1", "0.9", "2", "1", "0%"), text="hgrn2*24   [HGRN2]", layers=("hgrn2",) * 24),
    ),
    above=("cost: " + "a long line of words " * 8,),
    below=("confidence: " + "a long line of words " * 8,),
    colours={"gla": "#0072b2", "attention": "#d55e00", "hgrn2": "#66aad1", "sliding_window(window=512)": "#e69f00"},
)  # fmt: skip


@pytest.mark.parametrize("coloured", [True, False])
@pytest.mark.parametrize("width", [60, 80, 200])
def test_lines_are_no_longer_than_the_terminal_and_say_all(width, coloured):
    text = drawn(TABLE, width, coloured).plain
    assert max(map(len, text.splitlines())) <= width
    for said in ("0.988", "16.16", LONG, "published layouts that are not on the front:", "hgrn2*24 [HGRN2]"):
        assert said in " ".join(text.split())
    assert text.count(CELL) == (96 if coloured else 0)


def test_layers_have_the_colours_of_the_table():
    text = drawn(TABLE, 80, True)
    by_colour = {}
    for span in text.spans:
        by_colour.setdefault(str(span.style), []).append(text.plain[span.start : span.end])
    assert by_colour["#0072b2"].count(CELL) == 16 + 24 and by_colour["#d55e00"].count(CELL) == 8 + 24
    assert by_colour["#66aad1"] == [CELL] * 24 + ["hgrn2"] and by_colour["#e69f00"] == ["sliding_window(window=512)"]


def test_a_table_that_is_cut_has_a_line_for_each_row():
    rows = tuple(Row(cells=(str(i),), text=LONG) for i in range(3))
    lines = drawn(Table(heads=("trial", "layout"), rows=rows, cut=True), 50, True).plain.splitlines()
    assert len(lines) == 4 and all(len(line) == 50 and line.endswith("…") for line in lines[1:])
    strips = tuple(Row(cells=(str(i),), text=LONG, layers=("gla",) * 80) for i in range(3))
    assert drawn(Table(rows=strips, cut=True), 50, True).plain.splitlines() == [f"{i}  {CELL * 47}" for i in range(3)]


def test_a_pipe_gets_a_line_for_each_row(capsys):
    show(TABLE, Table(above=("another",)))
    out = capsys.readouterr().out
    assert out == TABLE.to_text() + "\nanother\n" and "\x1b" not in out and CELL not in out
    lines = out.splitlines()
    assert len(lines) == 9 and LONG in lines[3] and lines[1].split() == [*TABLE.heads]


def test_a_pipe_does_without_rich():
    program = "import nas.cli, sys; from nas.results.table import Table; from nas.cli.terminal import show; "
    program += "show(Table(above=('x',))); print({'rich', 'torch', 'optuna'} & set(sys.modules))"
    assert os.popen(f'{sys.executable} -c "{program}"').read() == "x\nset()\n"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.mark.parametrize("surroundings", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_has_colours_unless_it_is_asked_for_none(monkeypatch, surroundings):
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "80", **surroundings}.items():
        monkeypatch.setenv(name, value)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    show(TABLE)
    said = terminal.getvalue()
    assert ("\x1b" in said) == (CELL in said) == (not surroundings)
    assert max(len(re.sub("\x1b\\[[0-9;]*m", "", line)) for line in said.splitlines()) <= 80


def test_text_is_no_markup():
    console = Console(file=(out := io.StringIO()), width=80)
    assert open_console(out).is_terminal is False
    console.print(drawn(Table(above=("[bold]x[/bold] :smile:",)), 80, True))
    assert out.getvalue() == "[bold]x[/bold] :smile:\n"
