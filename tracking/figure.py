"""The front as a picture."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tracking.figure_key import draw_key, quantity
from tracking.labels import place_labels
from tracking.records import TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
INK, FAINT = "#1a1a1a", "#7c8fa6"
NUMBER: dict[str, Any] = {"fontsize": 8, "fontweight": "bold", "color": INK}
NAME: dict[str, Any] = {
    "fontsize": 7,
    "color": "#8a4b08",
    "bbox": {"facecolor": "white", "alpha": 0.7, "pad": 0.6, "linewidth": 0},
}
PALETTE = ["#1a1a1a", "#0072b2", "#8c6bb1", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#a6a6a6", "#b3b300"]
MOST_MEMBERS = 12
"""Members of the front that are numbered and listed; of a longer front, evenly spread ones."""
MOST_NAMES = 8
"""Published layouts that are named in the chart though they are not on the front."""


def draw_front(
    trials: Sequence[TrialRecord],
    path: str | Path,
    *,
    efficiency: str,
    label: str,
    unit: str,
    title: str,
    target: str,
    lower_is_better: bool = True,
) -> None:
    """Draws all trials that are complete, the front with its spread over seeds, and published layouts; writes SVG.

    Beside the chart, a key shows the layouts of the front layer by layer. The same trials give the same file.

    Args:
        trials: of the search; those that are not complete are left out.
        path: of the file.
        efficiency: the objective that is drawn, a key of `TrialRecord.efficiency`.
        label: of its axis.
        unit: of its values.
        title: name of the search.
        target: what efficiency is stated for (batch, context, device).
        lower_is_better: direction of the objective.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    known = sorted((t for t in trials if t.state == "complete"), key=lambda t: (t.efficiency[efficiency], t.recall))
    front = [t for t in known if t.on_front]
    colours = mixer_colours(known)
    with rc_context(STYLE):
        figure = Figure(figsize=(10.5, 6.0), facecolor="white")
        FigureCanvasAgg(figure)  # can measure texts, which the SVG canvas cannot
        figure.text(0.02, 0.955, title, fontsize=13, fontweight="bold", color=INK)
        figure.text(0.02, 0.915, f"{target}   ·   {_counts(known)}", color="#555555")
        if known:
            chart = figure.add_axes((0.065, 0.1, 0.57, 0.745))
            _draw_trials(chart, known, efficiency, colours)
            _set_scales(chart, known, efficiency)
            lines = _draw_line(chart, front, efficiency, lower_is_better)
            chart.set_xlabel(f"{label}{unit and f' ({unit})'}, {'lower' if lower_is_better else 'higher'} is better")
            chart.set_ylabel("recall, mean and standard deviation over seeds")
            shown = spread_out(front, MOST_MEMBERS)
            named = notable(known, efficiency, lower_is_better)
            texts = [(t, str(t.number), NUMBER) for t in shown] + [(t, t.origin, NAME) for t in named]
            place_labels(chart, [(t.efficiency[efficiency], t.recall, text, style) for t, text, style in texts], lines)
            key = figure.add_axes((0.66, 0.03, 0.33, 0.89))
            draw_key(key, shown, len(front), efficiency, unit, colours)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def mixer_colours(trials: Sequence[TrialRecord]) -> dict[str, str]:
    """A colour for every mixer that occurs, by the order of their names."""
    mixers = sorted({mixer for t in trials for mixer in t.layers})
    return {mixer: PALETTE[i % len(PALETTE)] for i, mixer in enumerate(mixers)}


def main_mixer(trial: TrialRecord) -> str:
    """The mixer that most layers have; of equals the first."""
    return Counter(trial.layers).most_common(1)[0][0]


def spread_out(trials: Sequence[TrialRecord], most: int) -> list[TrialRecord]:
    """At most `most` of the trials, the first and the last among them."""
    if len(trials) <= most:
        return list(trials)
    return [trials[round(i)] for i in np.linspace(0, len(trials) - 1, most)]


def notable(trials: Sequence[TrialRecord], efficiency: str, lower_is_better: bool) -> list[TrialRecord]:
    """Published layouts that are not on the front, the best one for every main mixer: nearest below the front."""
    front = [t for t in trials if t.on_front]

    def gap(trial: TrialRecord) -> float:
        own = trial.efficiency[efficiency]
        better = [f.recall for f in front if (f.efficiency[efficiency] <= own) == lower_is_better]
        return max(better, default=0.0) - trial.recall

    best: dict[str, TrialRecord] = {}
    for trial in sorted((t for t in trials if t.origin != "search" and not t.on_front), key=gap):
        best.setdefault(main_mixer(trial), trial)
    return list(best.values())[:MOST_NAMES]


def _counts(trials: Sequence[TrialRecord]) -> str:
    seeds = [len(t.seeds) for t in trials]
    if not seeds:
        return "no layout has been trained to its end"
    each = f"{min(seeds)} to {max(seeds)} seeds" if min(seeds) < max(seeds) else f"{seeds[0]} seeds"
    return f"{len(trials)} layouts, {sum(seeds)} runs, {each.replace('1 seeds', '1 seed')} each"


def _draw_trials(axes: "Axes", trials: Sequence[TrialRecord], efficiency: str, colours: Mapping[str, str]) -> None:
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
            axes.scatter(
                [t.efficiency[efficiency] for t in part],
                [t.recall for t in part],
                s=size,
                c=[colours[main_mixer(t)] for t in part] if published else INK if on_front else FAINT,
                alpha=alpha,
                marker=marker,
                linewidths=0,
                zorder=3 if published else 2,
            )
    axes.legend(
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


def _set_scales(axes: "Axes", trials: Sequence[TrialRecord], efficiency: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    values = [t.efficiency[efficiency] for t in trials]
    if min(values) > 0 and max(values) > 10 * min(values):
        axes.set_xscale("log")
        few = max(values) > 300 * min(values)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if few else (1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantity(value)))
    axes.margins(x=0.06, y=0.09)
    axes.grid(color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_line(
    axes: "Axes", front: Sequence[TrialRecord], efficiency: str, lower_is_better: bool
) -> list[list[tuple[float, float]]]:
    """The front as steps out to the edge of the chart, the area that it beats, and the spread over seeds.

    Returns:
        The corners of every line.
    """
    if not front:
        return []
    x, y = [t.efficiency[efficiency] for t in front], [t.recall for t in front]
    axes.autoscale_view()
    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    ends = [*zip(x, y, strict=True), (right, y[-1])] if lower_is_better else [(left, y[0]), *zip(x, y, strict=True)]
    corners = [ends[0]]
    for before, after in pairwise(ends):
        corners += [(after[0], before[1]) if lower_is_better else (before[0], after[1]), after]
    line_x, line_y = zip(*corners, strict=True)
    axes.plot(line_x, line_y, color=INK, linewidth=1.1, zorder=2.5)
    axes.fill_between(line_x, line_y, low, color=INK, alpha=0.035, linewidth=0, zorder=0)
    spread = [t.recall_spread or 0.0 for t in front]
    axes.errorbar(x, y, yerr=spread, fmt="none", ecolor=INK, elinewidth=0.9, capsize=2.5, zorder=2.6)
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
    return [corners, *([(a, b - s), (a, b + s)] for a, b, s in zip(x, y, spread, strict=True))]
