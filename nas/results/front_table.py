"""The front as a table for people."""

import math
from collections.abc import Sequence

from nas.config import Config
from nas.results.front import knee_number, shown
from nas.results.known import known_agreement
from nas.results.queue import untried
from nas.results.table import Row, Table
from nas.results.trials import Trial, find_objectives, seed_spread
from search_space.cost.objectives import Objective
from search_space.layouts.resize import resize
from tracking.picture.palette import mixer_colours

MOST_UNTRIED = 6
"""Published layouts that were not tried and are named."""


def front_table(trials: Sequence[Trial], config: Config, most: int | None = None) -> Table:
    """The front, best first, and below it the published layouts that are not on it.

    Args:
        trials: of a search.
        config: of it.
        most: rows of the front, evenly spread, each in a line and without anything else; None gives all.
    """
    rows = shown(trials, config)
    if most is not None:
        front = [t for t in rows if t.on_front]
        rows = [front[i] for i in sorted({round(k * (len(front) - 1) / max(1, most - 1)) for k in range(most)})]
    if not rows:
        return Table(above=("No layout has been trained to its end yet.",))
    objectives, best_trade = find_objectives(config.search.objectives), knee_number(trials, config)
    heads = ["trial"]
    for name, objective in objectives.items():
        heads += [head(name, objective), "spread"] if objective.measured else [head(name, objective)]
    lines, beside = list[Row](), False
    for trial in rows:
        if not trial.on_front and not beside:
            lines.append(Row(text="published layouts that are not on the front:"))
            beside = True
        lines.append(_row(trial, objectives, config, trial.number == best_trade))
    return Table(
        heads=(*heads, "seeds", "confidence", "layout"),
        rows=tuple(lines),
        above=(f"cost: {config.target.description}; trained: proxies of {config.space.layers} layers",),
        below=() if most is not None else _notes(trials, config, objectives),
        cut=most is not None,
        colours=colours_of(trials),
    )


def colours_of(trials: Sequence[Trial]) -> dict[str, str]:
    """The colours of the layers that trials have, as in the picture of the front."""
    return mixer_colours(map(str, {block for t in trials if t.state == "complete" for block in t.design.layers}))


def layers_of(trial: Trial, config: Config) -> tuple[str, ...]:
    """The layers of a trial at the depth of the target."""
    return tuple(map(str, resize(trial.design, config.target.layers, config.target.resize).layers))


def head(name: str, objective: Objective) -> str:
    """The heading of an objective's column, with the unit where its name does not say it."""
    short = name.rpartition(":")[2]
    said = not objective.unit or short.endswith(f"_{objective.unit.lower()}")
    return short if said else f"{short} ({objective.unit})"


def _row(trial: Trial, objectives: dict[str, Objective], config: Config, is_knee: bool) -> Row:
    cells = [str(trial.number)]
    for name, objective in objectives.items():
        cells.append(objective.show(trial.value(name)))
        if objective.measured:
            spread = trial.spread(name)
            cells.append("" if spread is None else objective.show(spread))
    marks = [trial.name] * bool(trial.origin) + ["knee: the best trade"] * is_knee
    return Row(
        cells=(*cells, str(len(trial.seeds)), f"{trial.confidence:.0%}"),
        text=f"{trial.design}" + "".join(f"   [{mark}]" for mark in marks),
        layers=layers_of(trial, config),
    )


def _notes(trials: Sequence[Trial], config: Config, objectives: dict[str, Objective]) -> tuple[str, ...]:
    notes = []
    left = [origin.name for origin in untried(trials, config)]
    if left:
        more = f" and {len(left) - MOST_UNTRIED} more" if len(left) > MOST_UNTRIED else ""
        notes.append(f"not tried: {len(left)} published layouts ({', '.join(left[:MOST_UNTRIED])}{more})")
    noise = [_noise(trials, name, objective) for name, objective in objectives.items() if objective.measured]
    notes.append(
        f"confidence: chance that the layout belongs on the front, as seeds of one layout differ by {', '.join(noise)} "
        "(standard deviation)."
    )
    if known := known_agreement(config):
        notes.append(f"evidence: {known.line}; `nas fidelity` measures it.")
    return tuple(notes)


def _noise(trials: Sequence[Trial], name: str, objective: Objective) -> str:
    """How far seeds differ in an objective; on a ratio scale as a factor."""
    spread = seed_spread(trials, name)
    return f"a factor of {math.exp(spread):.3g} in {name}" if objective.ratio else f"{objective.show(spread)} in {name}"
