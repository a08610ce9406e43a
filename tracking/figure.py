"""The front as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MOST_LABELS = 9
COLOURS = {"search": "#2166ac", "published": "#b2182b", "front": "#111111"}


@dataclass(frozen=True, kw_only=True)
class Point:
    """A layout in the picture.

    Args:
        cost: value of the efficiency objective.
        recall: mean over seeds.
        spread: standard deviation over seeds; None for one seed.
        label: the layout in short.
        published: name, for a layout from the literature.
        hybrid: whether it has attention and other mixers.
        on_front: whether it is on the front.
    """

    cost: float
    recall: float
    spread: float | None
    label: str
    published: str | None
    hybrid: bool
    on_front: bool


def draw_front(
    points: Sequence[Point], path: Path, *, title: str, cost_label: str, lower_is_better: bool = True
) -> None:
    """Draws all trials, the front as a stepped line with its spread, and published layouts as marks; writes SVG.

    The same points give the same file.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "nas", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}):
        figure = Figure(figsize=(9, 5.5), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        groups = (
            ("searched, hybrid", False, True, "o", COLOURS["search"]),
            ("searched, pure", False, False, "s", COLOURS["search"]),
            ("published, hybrid", True, True, "^", COLOURS["published"]),
            ("published, pure", True, False, "D", COLOURS["published"]),
        )
        for name, published, hybrid, marker, colour in groups:
            members = [p for p in points if bool(p.published) == published and p.hybrid == hybrid]
            if members:
                x, y = [p.cost for p in members], [p.recall for p in members]
                axes.scatter(x, y, s=26, marker=marker, c=colour, alpha=0.45, linewidths=0, label=name)
        front = sorted((p for p in points if p.on_front), key=lambda p: (p.cost, p.recall))
        if front:
            x, y = [p.cost for p in front], [p.recall for p in front]
            where = "post" if lower_is_better else "pre"
            axes.step(x, y, where=where, color=COLOURS["front"], linewidth=1.2, label="front")
            spread = [p.spread or 0.0 for p in front]
            axes.errorbar(x, y, yerr=spread, fmt="none", ecolor=COLOURS["front"], elinewidth=0.9, capsize=2.5)
        costs = [p.cost for p in points if p.cost > 0]
        if costs and max(costs) / min(costs) > 4:
            from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.xaxis.set_major_formatter(ScalarFormatter())
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.12, y=0.14)
        _label_front(axes, front)
        axes.set_xlabel(cost_label)
        axes.set_ylabel("recall (mean accuracy over the suite)")
        axes.set_title(title, fontsize=10, loc="left")
        axes.grid(alpha=0.25, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="lower right", frameon=False, fontsize=8)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": "nas"})


def _label_front(axes, front: Sequence[Point]) -> None:
    """Names the front's layouts, above and below the line in turn, with thin lines to their points."""
    chosen = front
    if len(front) > MOST_LABELS:
        last = len(front) - 1
        chosen = [front[round(i * last / (MOST_LABELS - 1))] for i in range(MOST_LABELS)]
    for rank, point in enumerate(chosen):
        above = rank % 2 == 0
        offset = (-4, 12 + 11 * (rank // 2 % 2)) if above else (8, -16 - 11 * (rank // 2 % 2))
        axes.annotate(
            point.published or point.label,
            (point.cost, point.recall),
            xytext=offset,
            textcoords="offset points",
            ha="right" if above else "left",
            fontsize=7,
            color=COLOURS["published"] if point.published else COLOURS["front"],
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "#888888"},
        )
