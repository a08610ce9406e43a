"""Empty figures, how they look, and how they are saved: what all pictures have in common."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE: Any = {
    # Text stays text, in a font that is everywhere, and the same data give the same file.
    "svg.fonttype": "none",
    "svg.hashsalt": "front",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": "#333333",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
}


@contextmanager
def style() -> Iterator[None]:
    """What is drawn and saved within looks alike, whatever the user set."""
    with _no_backend():
        from matplotlib import rc_context
    with rc_context(STYLE):
        yield


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure, sizes in inches. It belongs to no window; notebooks show it as SVG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = _shown_in_notebooks()(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)  # can measure texts, which the SVG canvas cannot
    return figure


def save(figure: "Figure", file: str | Path | io.BytesIO) -> None:
    """Writes a figure as SVG, without the date."""
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})


@cache
def _shown_in_notebooks() -> "type[Figure]":
    from matplotlib.figure import Figure

    class Shown(Figure):
        def _repr_svg_(self) -> str:
            """What a notebook shows."""
            with style():
                file = io.BytesIO()
                save(self, file)
            return file.getvalue().decode()

    return Shown


@contextmanager
def _no_backend() -> Iterator[None]:
    """Hides the backend that the user chose for windows: matplotlib cannot be imported with one that is not there."""
    chosen = os.environ.pop("MPLBACKEND", None)
    try:
        yield
    finally:
        if chosen is not None:
            os.environ["MPLBACKEND"] = chosen
