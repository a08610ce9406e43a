"""What a search found: as a table, JSON, CSV and a picture."""

import csv
import io
import json
from typing import Any

from nas.config import Config
from nas.results.folder import Folder
from nas.results.trials import Trial, front_of, seed_spread
from search_space.cost.cost import cost
from search_space.cost.objectives import EFFICIENCY
from tracking.figure import draw_front
from tracking.records import TrialRecord


def is_published(trial: Trial) -> bool:
    """Whether the layout comes from the literature."""
    return trial.origin != "search"


def to_dict(trial: Trial) -> dict[str, Any]:
    """A trial as plain data."""
    return {
        "trial": trial.number,
        "origin": trial.origin,
        "label": str(trial.layout),
        "layout": trial.layout.to_dict(),
        "recall": trial.recall,
        "recall_spread": trial.spread,
        "seeds": trial.seeds,
        "confidence": trial.confidence,
        "on_front": trial.on_front,
        "efficiency": trial.efficiency,
        "accuracy": trial.mean("accuracy"),
    }


def front_dict(trials: list[Trial], config: Config) -> dict[str, Any]:
    """The front and the published layouts beside it, as plain data."""
    name = config.search.efficiency
    objective = EFFICIENCY[name]
    return {
        "objectives": [
            {"name": "recall", "direction": "maximize", "unit": "share of answers"},
            {"name": name, "direction": objective.direction, "unit": objective.unit},
        ],
        "target": config.target.description,
        "seed_spread": seed_spread(trials),
        "points": [to_dict(t) for t in front_of(trials, name)],
        "published": [to_dict(t) for t in trials if is_published(t) and t.state == "complete"],
    }


def front_json(trials: list[Trial], config: Config) -> str:
    """`front_dict` as JSON."""
    return json.dumps(front_dict(trials, config), indent=2) + "\n"


def front_csv(trials: list[Trial], config: Config) -> str:
    """Front and published layouts, one a line."""
    out = io.StringIO()
    name = config.search.efficiency
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["trial", "origin", "on_front", "recall", "recall_spread", "seeds", "confidence", name, "layout"])
    for t in _shown(trials, name):
        spread = "" if t.spread is None else f"{t.spread:.6g}"
        row = [t.number, t.origin, str(t.on_front).lower(), f"{t.recall:.6g}", spread, len(t.seeds)]
        writer.writerow([*row, f"{t.confidence:.3g}", f"{t.efficiency[name]:.6g}", str(t.layout)])
    return out.getvalue()


def front_table(trials: list[Trial], config: Config) -> str:
    """The front, cheapest first, and the best published layouts below it, for people."""
    name = config.search.efficiency
    unit = f" ({EFFICIENCY[name].unit})" if EFFICIENCY[name].unit else ""
    shown = _shown(trials, name)
    if not shown:
        return "No layout has been trained to its end yet.\n"
    head = f"{'trial':>5}  {name + unit:>16}  {'recall':>6}  {'spread':>6}  {'seeds':>5}  {'sure':>4}  layout"
    lines = [head]
    for position, t in enumerate(shown):
        if not t.on_front and (position == 0 or shown[position - 1].on_front):
            lines.append("published layouts that are not on the front:")
        spread = "" if t.spread is None else f"{t.spread:.3f}"
        origin = f"   [{t.origin}]" if is_published(t) else ""
        lines.append(
            f"{t.number:>5}  {t.efficiency[name]:>16.6g}  {t.recall:>6.3f}  {spread:>6}  {len(t.seeds):>5}  "
            f"{t.confidence:>4.0%}  {t.layout}{origin}"
        )
    lines.append(
        f"sure: chance that the layout belongs on the front, as seeds of one layout differ by "
        f"{seed_spread(trials):.3f} (standard deviation)."
    )
    return "\n".join(lines) + "\n"


def _shown(trials: list[Trial], efficiency: str) -> list[Trial]:
    others = [t for t in trials if is_published(t) and not t.on_front and t.state == "complete"]
    return [*front_of(trials, efficiency), *sorted(others, key=lambda t: t.efficiency[efficiency])]


def draw(trials: list[Trial], config: Config, folder: Folder) -> None:
    """Draws the front into the folder."""
    name = config.search.efficiency
    objective = EFFICIENCY[name]
    draw_front(
        [record(t, config) for t in trials],
        folder.front_figure,
        efficiency=name,
        label=objective.description,
        unit=objective.unit,
        title=config.name,
        target=config.target.description,
        lower_is_better=objective.direction == "minimize",
    )


def write(trials: list[Trial], config: Config, folder: Folder) -> None:
    """Writes picture, JSON and the front's layouts into the folder."""
    draw(trials, config, folder)
    folder.front_json.write_text(front_json(trials, config))
    folder.layouts.mkdir(exist_ok=True)
    for old in folder.layouts.glob("*.yaml"):
        old.unlink()
    for trial in front_of(trials, config.search.efficiency):
        (folder.layouts / f"trial_{trial.number}.yaml").write_text(trial.layout.to_yaml())


def record(trial: Trial, config: Config) -> TrialRecord:
    """A trial as MLflow shows it."""
    costs = cost(trial.layout, config.target)
    scores = {f"{kind}/{name}": v for kind in ("accuracy", "loss") for name, v in trial.mean(kind).items()}
    curves = {f"{name}/seed_{r.seed}": curve for r in trial.results for name, curve in r.curves.items()}
    return TrialRecord(
        number=trial.number,
        label=str(trial.layout),
        layout_yaml=trial.layout.to_yaml(),
        layers=tuple(map(str, trial.layout.layers)),
        origin=trial.origin,
        state=trial.state,
        recall=trial.recall,
        recall_spread=trial.spread,
        seeds=tuple(trial.seeds),
        efficiency={name: float(objective.of(costs)) for name, objective in EFFICIENCY.items()},
        scores=scores,
        curves=curves,
        seconds=sum(r.seconds for r in trial.results),
        on_front=trial.on_front,
        confidence=trial.confidence,
    )
