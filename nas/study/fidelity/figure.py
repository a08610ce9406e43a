"""Agreement by axis as a picture: the proxies with their intervals, and baselines that train nothing."""

from pathlib import Path
from typing import Any

from nas.study.fidelity.baselines import BASELINES
from nas.study.fidelity.report import Report
from search_space.files import replaced

STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "fidelity", "font.family": "sans-serif", "font.size": 9}
PROXIES = "#0072B2"
MARKS = {name: mark for name, mark in zip(BASELINES, ("s", "^", "v", "D"), strict=True)}
COLOURS = {name: colour for name, colour in zip(BASELINES, ("#D55E00", "#E69F00", "#999999", "#CC79A7"), strict=True)}
"""Okabe and Ito's colours; every judge has a shape of its own as well."""
ROW = 0.62
"""Inches."""


def draw(report: Report, path: str | Path) -> None:
    """Writes the figure as SVG or PNG, as the name says.

    Raises:
        OSError: it cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(7.6, 1.5 + ROW * max(1, len(report.axes))), layout="constrained")
        axes = figure.add_subplot()
        for place, axis in enumerate(report.axes):
            for step, (name, share) in enumerate(axis.baselines.items()):
                y = place + 0.12 + 0.12 * step
                axes.plot([share.low, share.high], [y, y], color=COLOURS[name], linewidth=0.8, alpha=0.7)
                axes.plot(share.value, y, MARKS[name], color=COLOURS[name], markersize=5)
            if axis.proxies is not None:
                y = place - 0.12
                axes.plot([axis.proxies.low, axis.proxies.high], [y, y], color=PROXIES, linewidth=2.4)
                axes.plot(axis.proxies.value, y, "o", color=PROXIES, markersize=8)
            if place:
                axes.axhline(place - 0.33, color="#dddddd", linewidth=0.6)
        axes.axvline(0.5, color="#888888", linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(len(report.axes) - 0.33, -0.33)
        axes.set_yticks(range(len(report.axes)), [_label(axis) for axis in report.axes])
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.set_xlabel("share of published statements ordered alike (0.5: no better than a coin)")
        axes.set_title(f"Agreement with published models: {report.about['config']}", loc="left", fontsize=10)
        handles = [axes.plot([], [], "o", color=PROXIES, markersize=8, label="proxies")[0]]
        handles += [axes.plot([], [], MARKS[n], color=COLOURS[n], markersize=5, label=n)[0] for n in BASELINES]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
        if not all(axis.draws_sources for axis in report.axes):
            axes.text(1, 1.01, "* interval over layouts alone", transform=axes.transAxes, ha="right", fontsize=8)
        with replaced(path) as new:
            form = Path(path).suffix.removeprefix(".")
            # Without a date, the same report gives the same file.
            figure.savefig(new, format=form, dpi=150, metadata={"Date": None} if form == "svg" else None)


def _label(axis: Any) -> str:
    sources = f"{axis.source_count} source{'s' * (axis.source_count > 1)}{'' if axis.draws_sources else ' *'}"
    return f"{axis.name}\n{axis.statements} statements, {sources}"
