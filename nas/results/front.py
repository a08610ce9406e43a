"""What a search found: as JSON, CSV, a picture, and records for MLflow."""

import csv
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nas.config import Config
from nas.results.folder import Folder
from nas.results.pick import knee
from nas.results.trials import Trial, best_first, find_objectives, front_of, seed_spread
from search_space.files import replaced, write_text
from search_space.layouts.resize import resize
from tracking.picture.figure import draw_front, front_figure
from tracking.records import TrialRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def front_dict(trials: Sequence[Trial], config: Config) -> dict[str, Any]:
    """The front and the published layouts beside it, as plain data."""
    names = config.search.objectives
    objectives = find_objectives(names)
    best_trade = knee_number(trials, config)
    return {
        "objectives": [
            {
                "name": name,
                "direction": "maximize" if objective.better == "high" else "minimize",
                "unit": objective.unit,
                "measured": objective.measured,
            }
            for name, objective in objectives.items()
        ],
        "target": config.target.description,
        "seed_spread": {name: seed_spread(trials, name) for name, o in objectives.items() if o.measured},
        "points": [{**_point(t, names), "knee": t.number == best_trade} for t in front_of(trials, names)],
        "published": [_point(t, names) for t in _published(trials)],
    }


def knee_number(trials: Sequence[Trial], config: Config) -> int | None:
    """The trial that is the front's best trade; None before there is a front."""
    front = front_of(trials, config.search.objectives)
    return knee(front, config.search.objectives).number if front else None


def front_json(trials: Sequence[Trial], config: Config) -> str:
    """`front_dict` as JSON."""
    return json.dumps(front_dict(trials, config), indent=2) + "\n"


def front_csv(trials: Sequence[Trial], config: Config) -> str:
    """Front and published layouts, one a line."""
    out = io.StringIO()
    objectives = find_objectives(config.search.objectives)
    writer = csv.writer(out, lineterminator="\n")
    head = [column for name, o in objectives.items() for column in ([name, f"{name}_spread"] if o.measured else [name])]
    writer.writerow(["trial", "origin", "on_front", *head, "seeds", "confidence", "layout"])
    for t in shown(trials, config):
        values: list[str] = []
        for name, objective in objectives.items():
            values.append(f"{t.value(name):.6g}")
            if objective.measured:
                spread = t.spread(name)
                values.append("" if spread is None else f"{spread:.6g}")
        on_front = str(t.on_front).lower()
        writer.writerow([t.number, t.name, on_front, *values, len(t.seeds), f"{t.confidence:.3g}", str(t.design)])
    return out.getvalue()


def draw(trials: Sequence[Trial], config: Config, folder: Folder) -> None:
    """Draws the front into the folder."""
    with replaced(folder.front_figure) as new:
        draw_front([record(t, config) for t in trials], new, **_titles(trials, config))


def figure(trials: Sequence[Trial], config: Config) -> "Figure":
    """The same picture, as a figure of matplotlib."""
    return front_figure([record(t, config) for t in trials], **_titles(trials, config))


def _titles(trials: Sequence[Trial], config: Config) -> dict[str, Any]:
    return {
        "objectives": find_objectives(config.search.objectives),
        "title": config.name,
        "target": config.target.description,
        "knee": knee_number(trials, config),
    }


def write(trials: Sequence[Trial], config: Config, folder: Folder) -> None:
    """Writes picture, JSON and the front's layouts (as they were trained) into the folder, each whole or not at all.

    Raises:
        OSError: one of them cannot be written.
    """
    draw(trials, config, folder)
    write_text(folder.front_json, front_json(trials, config))
    folder.layouts.mkdir(exist_ok=True)
    files = {f"trial_{t.number}.yaml": t.layout.to_yaml() for t in front_of(trials, config.search.objectives)}
    for name, text in files.items():
        write_text(folder.layouts / name, text)
    for old in folder.layouts.glob("trial_*.yaml"):
        if old.name not in files:
            old.unlink()


def record(trial: Trial, config: Config, knee: bool = False) -> TrialRecord:
    """A trial as MLflow and the picture show it, layer by layer at the target's depth.

    Args:
        trial: whatever became of it.
        config: of its search.
        knee: whether it is the front's best trade.
    """
    measured = [n for n, o in find_objectives(config.search.objectives).items() if o.measured and trial.results]
    spreads = {name: trial.spread(name) for name in measured}
    return TrialRecord(
        number=trial.number,
        label=str(trial.design),
        layout_yaml=trial.layout.to_yaml(),
        layers=tuple(map(str, resize(trial.design, config.target.layers, config.target.resize).layers)),
        trained=tuple(map(str, trial.layout.layers)),
        origin=trial.name,
        state=trial.state,
        seeds=tuple(trial.seeds),
        objectives={**trial.costs, **{name: trial.value(name) for name in measured}},
        spreads={name: spread for name, spread in spreads.items() if spread is not None},
        scores={f"{kind}/{name}": v for kind in ("accuracy", "loss") for name, v in trial.mean(kind).items()},
        curves={f"{name}/seed_{r.seed}": curve for r in trial.results for name, curve in r.curves.items()},
        seconds=sum(r.seconds for r in trial.results),
        on_front=trial.on_front,
        confidence=trial.confidence,
        knee=knee,
    )


def _point(trial: Trial, names: Sequence[str]) -> dict[str, Any]:
    """A trial as plain data: `layout` as it was trained, `design` as it is priced."""
    return {
        "trial": trial.number,
        "origin": trial.name,
        "label": str(trial.design),
        "layout": trial.layout.to_dict(),
        "design": trial.design.to_dict(),
        "objectives": {name: trial.value(name) for name in names},
        "spread": {name: trial.spread(name) for name in names if name not in trial.costs},
        "seeds": trial.seeds,
        "confidence": trial.confidence,
        "on_front": trial.on_front,
        "costs": trial.costs,
        "accuracy": trial.mean("accuracy"),
    }


def _published(trials: Sequence[Trial]) -> list[Trial]:
    return [t for t in trials if t.origin is not None and t.state == "complete"]


def shown(trials: Sequence[Trial], config: Config) -> list[Trial]:
    """The front, then the published layouts that are not on it, best first."""
    names = config.search.objectives
    others = [t for t in _published(trials) if not t.on_front]
    return [*front_of(trials, names), *best_first(others, names)]
