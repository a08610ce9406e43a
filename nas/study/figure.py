"""The study as a picture: recall by share of attention, of the proxies and of the paper's models."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.study.cells import Cells, published
from nas.study.layouts import MIXERS
from tracking.figure import PALETTE, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: dict[str, str] = dict(zip(MIXERS, PALETTE[1:], strict=False))


def draw(recall: Cells, path: str | Path) -> None:
    """Writes the picture as SVG; the same cells give the same file."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.6), facecolor="white", layout="constrained")
        axes: Any = figure.subplots(1, 2)
        _lines(axes[0], recall, f"proxies, {recall.seeds} seeds: recall")
        _lines(axes[1], published("ruler_1p3b"), "1.3B models of 2507.06457, one seed: RULER")
        if np.isfinite(recall.transformer).any():
            axes[0].axhline(np.nanmean(recall.transformer), color="#1a1a1a", linestyle=":", linewidth=1)
            axes[0].annotate("Transformer", (0, np.nanmean(recall.transformer)), fontsize=7, va="bottom")
        axes[0].legend(frameon=False, fontsize=7, loc="lower right")
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _lines(axes: "Axes", cells: Cells, title: str) -> None:
    """A line for each mixer with the standard error of its cells, and their mean in black."""
    places = np.arange(len(cells.ratios))
    error = cells.error if cells.seeds > 1 else 0.0
    for mixer, means in zip(cells.mixers, cells.means, strict=True):
        style: Any = {"color": COLOURS[mixer], "linewidth": 1.2, "marker": "o", "markersize": 3}
        axes.errorbar(places, means, yerr=error, label=mixer, capsize=2, **style)
    axes.plot(places, cells.means.mean(0), color="#1a1a1a", linewidth=2.2, label="mean", zorder=0, alpha=0.6)
    axes.set_xticks(places, cells.ratios)
    axes.set_xlabel("one attention layer in so many")
    axes.set_title(title, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
