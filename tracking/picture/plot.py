"""The chart of a front: marks of the trials, scales, and the line of the front."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from search_space.cost.objectives import Objective
from tracking.picture.key import quantity
from tracking.picture.labels import place_labels
from tracking.picture.palette import FAINT, INK
from tracking.records import TrialRecord, axes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZES = (0.5, 2.5)
"""Sizes of the marks of the worst and the best trial in the third objective, in those of a chart without one."""
WIDE = 10.0
"""A ratio scale whose largest value is more than so many times its smallest is drawn as a logarithm."""

Label = tuple[TrialRecord, str, dict[str, Any]]
"""A trial, the text beside its mark, and the text's properties."""


def draw_chart(
    chart: "Axes",
    trials: Sequence[TrialRecord],
    objectives: Mapping[str, Objective],
    colours: Mapping[str, str],
    labels: Sequence[Label],
) -> None:
    """Draws complete trials over the axes of `axes_of`; a third objective is shown by the size of the marks.

    Args:
        chart: to draw in.
        trials: at least one.
        objectives: name -> what the search trades.
        colours: as `mixer_colours` gives them.
        labels: texts beside marks; earlier ones choose their place first.
    """
    axes = axes_of(objectives)
    _draw_trials(chart, trials, axes, colours, _sizes(trials, third_of(objectives), objectives))
    for letter, name in zip("xy", axes, strict=True):
        set_scale(chart, letter, [t.objectives[name] for t in trials], objectives[name])
    set_frame(chart)
    lines = _draw_line(chart, [t for t in trials if t.on_front], axes, objectives)
    x, y = axes
    place_labels(chart, [(t.objectives[x], t.objectives[y], text, style) for t, text, style in labels], lines)


def third_of(objectives: Mapping[str, Objective]) -> str | None:
    """The objective that has no axis, if there are three."""
    return next((name for name in objectives if name not in axes_of(objectives)), None)


def losses_of(trial: TrialRecord, objectives: Mapping[str, Objective], names: Sequence[str]) -> tuple[float, ...]:
    """Losses of a trial in the named objectives: lower is better."""
    return tuple(float(objectives[name].losses(trial.objectives[name])) for name in names)


def main_mixer(trial: TrialRecord) -> str:
    """What most layers are; of equals the first."""
    return Counter(trial.layers).most_common(1)[0][0]


def _sizes(trials: Sequence[TrialRecord], third: str | None, objectives: Mapping[str, Objective]) -> dict[int, float]:
    """Number of a trial -> size of its mark: of the third objective, better is larger; without one, all are 1."""
    if third is None:
        return dict.fromkeys((t.number for t in trials), 1.0)
    losses = objectives[third].losses([t.objectives[third] for t in trials])
    share = (losses.max() - losses) / (np.ptp(losses) or 1.0)
    return {t.number: SIZES[0] + (SIZES[1] - SIZES[0]) * float(s) for t, s in zip(trials, share, strict=True)}


def _draw_trials(
    chart: "Axes",
    trials: Sequence[TrialRecord],
    axes: tuple[str, str],
    colours: Mapping[str, str],
    sizes: Mapping[int, float],
) -> None:
    """Marks: searched ones are faint, published ones have the colour of their main mixer, the front's are larger."""
    from matplotlib.lines import Line2D

    kinds = (
        ("searched, hybrid", False, True, "o"),
        ("searched, pure", False, False, "s"),
        ("published, hybrid", True, True, "^"),
        ("published, pure", True, False, "D"),
    )
    handles = []
    for name, published, hybrid, marker in kinds:
        members = [t for t in trials if (t.origin != "search") == published and t.hybrid == hybrid]
        if members:
            handles.append(Line2D([], [], linestyle="", marker=marker, markersize=5, color="#666666", label=name))
        for on_front, size, alpha in ((False, 24 if published else 16, 0.75 if published else 0.4), (True, 42, 1.0)):
            part = [t for t in members if t.on_front == on_front]
            chart.scatter(
                [t.objectives[axes[0]] for t in part],
                [t.objectives[axes[1]] for t in part],
                s=[size * sizes[t.number] for t in part],
                c=[colours[main_mixer(t)] for t in part] if published else INK if on_front else FAINT,
                alpha=alpha,
                marker=marker,
                linewidths=0,
                zorder=3 if published else 2,
            )
    chart.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=len(handles),
        fontsize=8,
        frameon=False,
        borderaxespad=0.2,
        handletextpad=0.1,
        columnspacing=1.2,
    )


def set_scale(chart: "Axes", letter: str, values: Sequence[float], objective: Objective) -> None:
    """Scale, ticks and label of the x or y axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis = chart.xaxis if letter == "x" else chart.yaxis
    if objective.ratio and min(values) > 0 and max(values) > WIDE * min(values):
        chart.set(**{f"{letter}scale": "log"})
        few = max(values) > 300 * min(values)
        axis.set_major_locator(LogLocator(subs=(1.0,) if few else (1.0, 2.0, 5.0)))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: quantity(value)))
    seeds = ", mean and standard deviation over seeds" if objective.measured else ""
    unit = f" ({objective.unit})" if objective.unit else ""
    axis.set_label_text(f"{objective.description}{unit}{seeds}, {objective.better}er is better")


def set_frame(chart: "Axes") -> None:
    """Margins, grid and edges."""
    chart.margins(x=0.06, y=0.09)
    chart.grid(color="#e6e6e6", linewidth=0.6)
    chart.set_axisbelow(True)
    chart.spines[["top", "right"]].set_visible(False)


def _draw_line(
    chart: "Axes", front: Sequence[TrialRecord], axes: tuple[str, str], objectives: Mapping[str, Objective]
) -> list[list[tuple[float, float]]]:
    """The front as steps out to the edge of the chart, the area that it beats, and the spread over seeds.

    With a third objective, the steps join those members that no other beats on the two axes.

    Returns:
        The corners of every line.
    """
    if not front:
        return []
    chart.autoscale_view()
    limits = chart.get_xlim(), chart.get_ylim()
    x, y = axes
    # The ends at which an objective is worst.
    worst_x, worst_y = (limit[objectives[name].better == "low"] for limit, name in zip(limits, axes, strict=True))
    corners: list[tuple[float, float]] = []
    for here, height in steps(front, axes, objectives):
        if corners:
            corners.append((here, corners[-1][1]))
        corners.append((here, height))
    corners.append((worst_x, corners[-1][1]))
    line_x, line_y = zip(*corners, strict=True)
    chart.plot(line_x, line_y, color=INK, linewidth=1.1, zorder=2.5)
    chart.fill_between(line_x, line_y, worst_y, color=INK, alpha=0.035, linewidth=0, zorder=0)
    points = [(t.objectives[x], t.objectives[y]) for t in front]
    spreads = [[t.spreads.get(name, 0.0) for t in front] for name in axes]
    errors = [spread if objectives[name].measured else None for spread, name in zip(spreads, axes, strict=True)]
    xs, ys = zip(*points, strict=True)
    chart.errorbar(xs, ys, errors[1], errors[0], fmt="none", ecolor=INK, elinewidth=0.9, capsize=2.5, zorder=2.6)
    chart.set(xlim=limits[0], ylim=limits[1])
    (left, _), (bottom, _) = limits
    bars = [
        bar
        for (a, b), wide, tall in zip(points, *spreads, strict=True)
        for bar in ([(max(a - wide, left), b), (a + wide, b)], [(a, max(b - tall, bottom)), (a, b + tall)])
    ]
    return [corners, *bars]


def steps(
    front: Sequence[TrialRecord], axes: tuple[str, str], objectives: Mapping[str, Objective]
) -> list[tuple[float, float]]:
    """The members of a front, best first in x, that are better in y than all before them: (x, y) of each."""
    best, steps = np.inf, []
    for trial in sorted(front, key=lambda t: losses_of(t, objectives, axes)):
        height = losses_of(trial, objectives, axes)[1]
        if height < best:
            best = height
            steps.append((trial.objectives[axes[0]], trial.objectives[axes[1]]))
    return steps
