"""What stands beside the chart of a front: its layouts, layer by layer, and the colours of the mixers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tracking.records import TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROWS = 32.0
"""Lines of text that the key has room for: a dozen members, two lines each, and the mixers."""
STRIP = (0.09, 0.37)
"""Left edge and width of the strip of layers, in widths of the key."""
COLUMNS = (0.6, 0.86, 1.0)
"""Right edges of the columns of values; the spread follows the first."""
MOST_CHARACTERS = 60
PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def quantity(value: float) -> str:
    """A value in few characters: 0.816, 3070, 39.4k, 1.09G."""
    size, prefix = next(((s, p) for s, p in PREFIXES if abs(value) >= max(s, 1e4)), (1.0, ""))
    return f"{value:.0f}" if size == 1.0 and abs(value) >= 1000 else f"{value / size:.3g}{prefix}"


def draw_key(
    axes: "Axes", members: Sequence[TrialRecord], in_all: int, efficiency: str, unit: str, colours: Mapping[str, str]
) -> None:
    """Draws the members of a front in their order, and a legend of the mixers that occur in the search.

    Args:
        axes: to draw in.
        members: those that are listed.
        in_all: how many the front has.
        efficiency: the objective that is stated beside each.
        unit: of the objective.
        colours: mixer -> colour.
    """
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(ROWS, 0))
    more = f" ({len(members)} of {in_all})" if in_all > len(members) else ""
    axes.text(0, 0.5, f"On the front{more}", fontsize=9, fontweight="bold", color="#1a1a1a", va="center")
    for x, heading in zip(COLUMNS, ("recall", unit or efficiency, "sure"), strict=True):
        axes.text(x, 0.5, heading, fontsize=7.5, color="#777777", va="center", ha="right")
    row = 1.7
    for member in members:
        _draw_member(axes, row, member, quantity(member.efficiency[efficiency]), colours)
        row += 2.0
    _draw_mixers(axes, row + 0.8, colours)


def _draw_member(axes: "Axes", row: float, trial: TrialRecord, price: str, colours: Mapping[str, str]) -> None:
    left, width = STRIP
    cell = width / len(trial.layers)
    axes.text(left - 0.02, row + 0.35, str(trial.number), fontsize=8, fontweight="bold", ha="right", va="center")
    axes.broken_barh(
        [(left + i * cell, 0.88 * cell) for i in range(len(trial.layers))],
        (row, 0.7),
        facecolors=[colours[mixer] for mixer in trial.layers],
        linewidth=0,
    )
    for x, value in zip(COLUMNS, (f"{trial.recall:.2f}", price, f"{trial.confidence:.0%}"), strict=True):
        axes.text(x, row + 0.35, value, fontsize=7.5, color="#1a1a1a", va="center", ha="right")
    if trial.recall_spread is not None:
        axes.text(
            COLUMNS[0] + 0.01, row + 0.35, f"± {trial.recall_spread:.2f}", fontsize=7.5, color="#777777", va="center"
        )
    text = trial.label if trial.origin == "search" else f"{trial.origin}: {trial.label}"
    if len(text) > MOST_CHARACTERS:
        text = text[: MOST_CHARACTERS - 1] + "…"
    axes.text(left, row + 1.2, text, fontsize=6.5, color="#777777", va="center")


def _draw_mixers(axes: "Axes", row: float, colours: Mapping[str, str]) -> None:
    """The legend, in two columns."""
    for i, (mixer, colour) in enumerate(colours.items()):
        x, y = 0.5 * (i % 2), row + 0.9 * (i // 2)
        axes.broken_barh([(x, 0.025)], (y - 0.25, 0.5), facecolors=colour, linewidth=0)
        axes.text(x + 0.04, y, mixer, fontsize=7.5, color="#333333", va="center")
