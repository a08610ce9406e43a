"""What stands beside the chart of a front: its layouts, layer by layer, and the colours of the mixers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from search_space.cost.objectives import Objective
from tracking.records import TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROWS = 32.0
"""Lines of text that the key has room for: a dozen members, two lines each, and the mixers."""
STRIP = {2: (0.09, 0.37), 3: (0.09, 0.28)}
"""Number of objectives -> left edge and width of the strip of layers, in widths of the key."""
COLUMNS = {2: (0.57, 0.82, 1.0), 3: (0.46, 0.67, 0.825, 1.0)}
"""Number of objectives -> right edges of the columns of values; the spread follows the first."""
MOST_CHARACTERS = 60
LONGEST_NAME = 24
"""Characters of a mixer that half of the width has room for."""
PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def quantity(value: float) -> str:
    """A value in few characters: 0.816, 3070, 39.4k, 1.09G."""
    size, prefix = next(((s, p) for s, p in PREFIXES if abs(value) >= max(s, 1e4)), (1.0, ""))
    return f"{value:.0f}" if size == 1.0 and abs(value) >= 1000 else f"{value / size:.3g}{prefix}"


def draw_key(
    axes: "Axes",
    members: Sequence[TrialRecord],
    in_all: int,
    objectives: Mapping[str, Objective],
    colours: Mapping[str, str],
) -> None:
    """Draws the members of a front in their order, and a legend of the mixers that occur in the search.

    Args:
        axes: to draw in.
        members: those that are listed.
        in_all: how many the front has.
        objectives: name -> what is stated beside each member, in this order; the spread follows the first.
        colours: mixer -> colour.
    """
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(ROWS, 0))
    more = f" ({len(members)} of {in_all})" if in_all > len(members) else ""
    axes.text(0, 0.5, f"Front{more}", fontsize=9, fontweight="bold", color="#1a1a1a", va="center")
    headings = [objective.unit or name.rpartition(":")[2] for name, objective in objectives.items()]
    for x, heading in zip(COLUMNS[len(objectives)], (*headings, "confidence"), strict=True):
        axes.text(x, 0.5, heading, fontsize=7.5, color="#777777", va="center", ha="right")
    row = 1.7
    for member in members:
        _draw_member(axes, row, member, objectives, colours)
        row += 2.0
    _draw_mixers(axes, row + 0.8, colours)


def _draw_member(
    axes: "Axes", row: float, trial: TrialRecord, objectives: Mapping[str, Objective], colours: Mapping[str, str]
) -> None:
    left, width = STRIP[len(objectives)]
    columns = COLUMNS[len(objectives)]
    cell = width / len(trial.layers)
    axes.text(left - 0.02, row + 0.35, str(trial.number), fontsize=8, fontweight="bold", ha="right", va="center")
    axes.broken_barh(
        [(left + i * cell, 0.88 * cell) for i in range(len(trial.layers))],
        (row, 0.7),
        facecolors=[colours[mixer] for mixer in trial.layers],
        linewidth=0,
    )
    values = [quantity(trial.objectives[name]) for name in objectives]
    for x, value in zip(columns, (*values, f"{trial.confidence:.0%}"), strict=True):
        axes.text(x, row + 0.35, value, fontsize=7.5, color="#1a1a1a", va="center", ha="right")
    spread = trial.spreads.get(next(iter(objectives)))
    if spread is not None:
        axes.text(columns[0] + 0.01, row + 0.35, f"± {spread:.2g}", fontsize=7.5, color="#777777", va="center")
    text = trial.label if trial.origin == "search" else f"{trial.origin}: {trial.label}"
    if len(text) > MOST_CHARACTERS:
        text = text[: MOST_CHARACTERS - 1] + "…"
    axes.text(left, row + 1.2, text, fontsize=6.5, color="#777777", va="center")


def _draw_mixers(axes: "Axes", row: float, colours: Mapping[str, str]) -> None:
    """The legend, in two columns; in one where a name needs the room."""
    columns = 2 if max(map(len, colours), default=0) <= LONGEST_NAME else 1
    for i, (mixer, colour) in enumerate(colours.items()):
        x, y = 0.5 * (i % columns), row + 0.9 * (i // columns)
        axes.broken_barh([(x, 0.025)], (y - 0.25, 0.5), facecolors=colour, linewidth=0)
        axes.text(x + 0.04, y, mixer, fontsize=7.5, color="#333333", va="center")
