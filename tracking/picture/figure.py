"""The front as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from search_space.cost.objectives import Objective
from tracking.picture.key import draw_key
from tracking.picture.palette import INK, mixer_colours
from tracking.picture.plot import Label, draw_chart, losses_of, main_mixer, third_of
from tracking.picture.sheet import new_figure, save, style
from tracking.records import TrialRecord, axes_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUMBER: dict[str, Any] = {"fontsize": 8, "fontweight": "bold", "color": INK}
NAME: dict[str, Any] = {
    "fontsize": 7,
    "color": "#8a4b08",
    "bbox": {"facecolor": "white", "alpha": 0.7, "pad": 0.6, "linewidth": 0},
}
MOST_MEMBERS = 12
"""Members of the front that are numbered and listed; of a longer front, evenly spread ones."""
MOST_NAMES = 8
"""Published layouts that are named in the chart though they are not on the front."""


def draw_front(
    trials: Sequence[TrialRecord],
    path: str | Path,
    *,
    objectives: Mapping[str, Objective],
    title: str,
    target: str,
    knee: int | None = None,
) -> None:
    """Writes the picture of `front_figure`, for the same arguments, as SVG; the same trials give the same file.

    Args:
        trials: as there.
        path: of the file.
        objectives: as there.
        title: as there.
        target: as there.
        knee: as there.
    """
    with style():
        save(front_figure(trials, objectives=objectives, title=title, target=target, knee=knee), path)


def front_figure(
    trials: Sequence[TrialRecord],
    *,
    objectives: Mapping[str, Objective],
    title: str,
    target: str,
    knee: int | None = None,
) -> "Figure":
    """All trials that are complete, the front with its spread over seeds, and published layouts.

    The axes are those of `axes_of`; a third objective is shown by the size of the marks. Beside the chart, a key shows
    the layouts of the front layer by layer.

    Args:
        trials: of the search; those that are not complete are left out.
        objectives: name -> what the search trades, two or three; keys of `TrialRecord.objectives`.
        title: name of the search.
        target: what costs are stated for (batch, context, device).
        knee: number of the trial that is the best trade, which is marked.
    """
    x, y = axes_of(objectives)
    third = third_of(objectives)
    ordered = (x, y, *([third] if third else []))
    known = sorted((t for t in trials if t.state == "complete"), key=lambda t: losses_of(t, objectives, ordered))
    front = [t for t in known if t.on_front]
    colours = mixer_colours(mixer for t in known for mixer in t.layers)
    with style():
        figure = new_figure(10.5, 6.0)
        figure.text(0.02, 0.955, title, fontsize=13, fontweight="bold", color=INK)
        figure.text(0.02, 0.915, f"{target}   ·   {_counts(known)}", color="#555555")
        if third:
            note = f"larger marks: better {objectives[third].description}"
            figure.text(0.635, 0.955, note, fontsize=8, color="#555555", ha="right")
        if known:
            listed = spread_out(front, MOST_MEMBERS, knee)
            labels: list[Label] = [(t, f"{t.number}{' knee' * (t.number == knee)}", NUMBER) for t in listed]
            labels += [(t, t.origin, NAME) for t in notable(known, objectives)]
            draw_chart(figure.add_axes((0.065, 0.1, 0.57, 0.745)), known, objectives, colours, labels)
            columns = {name: objectives[name] for name in (y, x, *ordered[2:])}
            draw_key(figure.add_axes((0.66, 0.03, 0.33, 0.89)), listed, len(front), columns, colours)
    return figure


def spread_out(trials: Sequence[TrialRecord], most: int, kept: int | None = None) -> list[TrialRecord]:
    """At most `most` of the trials, the first, the last and the one of the number `kept` among them."""
    if len(trials) <= most:
        return list(trials)
    places = [round(i) for i in np.linspace(0, len(trials) - 1, most)]
    place = next((i for i, t in enumerate(trials) if t.number == kept), 0)
    if place not in places:
        places[min(range(1, most - 1), key=lambda i: abs(places[i] - place))] = place
    return [trials[i] for i in places]


def notable(trials: Sequence[TrialRecord], objectives: Mapping[str, Objective]) -> list[TrialRecord]:
    """Published layouts that are not on the front, the best one for every main mixer: nearest to the front.

    Near is what has least to gain on the y axis until the front no longer beats it.
    """
    y = axes_of(objectives)[1]
    others = [name for name in objectives if name != y]
    front = [(losses_of(t, objectives, others), losses_of(t, objectives, [y])[0]) for t in trials if t.on_front]

    def gap(trial: TrialRecord) -> float:
        own, height = np.array(losses_of(trial, objectives, others)), losses_of(trial, objectives, [y])[0]
        return max((height - better for losses, better in front if (losses <= own).all()), default=0.0)

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
