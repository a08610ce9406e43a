"""The fronts of several searches in one picture."""

import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from search_space.cost.objectives import Objective
from tracking.picture.palette import INK
from tracking.picture.plot import set_frame, set_scale, steps
from tracking.picture.sheet import new_figure, save, style
from tracking.records import TrialRecord, axes_of

MARKS = "osD^vP*X"
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7b5ea7", "#8c6d46")
"""Of the searches, in their order: a shape as well as a colour, and both anew after eight."""


def draw_comparison(
    trials: Sequence[TrialRecord],
    searches: Mapping[str, Collection[int]],
    file: str | Path | io.BytesIO,
    *,
    objectives: Mapping[str, Objective],
    target: str,
) -> None:
    """Draws the layouts of several searches, each search's front as a line, and the front of all as a broad one.

    Args:
        trials: complete ones of all searches, with the front of all marked.
        searches: name -> numbers of the trials that it tried; one that several tried has the marks of all.
        file: to write it to; SVG.
        objectives: name -> what the searches trade.
        target: what costs are stated for.
    """
    axes = axes_of(objectives)
    with style():
        figure = new_figure(9.0, 5.6)
        chart = figure.add_axes((0.08, 0.1, 0.9, 0.74))
        for place, (name, numbers) in enumerate(searches.items()):
            own = [t for t in trials if t.number in numbers]
            colour, mark = LINES[place % len(LINES)], MARKS[place % len(MARKS)]
            xs, ys = ([t.objectives[axis] for t in own] for axis in axes)
            # Rings of growing size, so that a layout of several searches shows them all.
            size = 26 + 34 * place
            chart.scatter(
                xs, ys, s=size, marker=mark, facecolors="none", edgecolors=colour, linewidths=1.2, label=name, zorder=3
            )
            _draw_steps(chart, own, axes, objectives, colour, 1.1)
        _draw_steps(chart, [t for t in trials if t.on_front], axes, objectives, INK, 4.0, alpha=0.22)
        for letter, axis in zip("xy", axes, strict=True):
            set_scale(chart, letter, [t.objectives[axis] for t in trials], objectives[axis])
        set_frame(chart)
        chart.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, fontsize=8, borderaxespad=0.2)
        figure.text(0.02, 0.955, f"{len(searches)} searches", fontsize=13, fontweight="bold", color=INK)
        figure.text(0.02, 0.915, f"{target}   ·   broad: the front of all", color="#555555")
        save(figure, file)


def _draw_steps(chart, trials, axes, objectives, colour, width, alpha=1.0) -> None:
    corners: list[tuple[float, float]] = []
    for x, y in steps(trials, axes, objectives):
        corners += [(x, corners[-1][1])] if corners else []
        corners.append((x, y))
    if corners:
        xs, ys = zip(*corners, strict=True)
        chart.plot(xs, ys, color=colour, linewidth=width, alpha=alpha, zorder=2)
