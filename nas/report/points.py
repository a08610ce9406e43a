"""What the chart of a page is drawn from, as plain data."""

from collections.abc import Mapping, Sequence
from typing import Any

from nas.config import Config
from nas.report.prices import price_grid
from nas.results.export import written
from nas.results.exporters import find_exporter
from nas.results.trials import Trial, find_objectives
from tracking.picture.figure import notable
from tracking.picture.plot import main_mixer, third_of
from tracking.records import TrialRecord, axes_of


def chart_data(
    trials: Sequence[Trial],
    records: Mapping[int, TrialRecord],
    colours: Mapping[str, str],
    knee: int | None,
    config: Config,
) -> dict[str, Any]:
    """The complete trials of a search, their prices for other uses, and how they are shown.

    Args:
        trials: complete ones.
        records: number of a trial -> how it is shown.
        colours: name of a layer -> colour.
        knee: number of the trial that is the best trade.
        config: of the search.
    """
    objectives = find_objectives(config.search.objectives)
    shown = [records[t.number] for t in trials]
    names = {record.number for record in notable(shown, objectives)} if trials else set()
    places = {label: place for place, label in enumerate(colours)}
    layouts = find_exporter("yaml")
    return {
        "objectives": [
            {
                "name": name,
                "label": objective.description,
                "unit": objective.unit,
                "better": objective.better,
                "ratio": objective.ratio,
                "measured": objective.measured,
            }
            for name, objective in objectives.items()
        ],
        "axes": list(axes_of(objectives)),
        "third": third_of(objectives),
        "labels": list(colours),
        "colours": list(colours.values()),
        "knee": knee,
        "points": [
            {
                "trial": trial.number,
                "origin": None if trial.origin is None else trial.name,
                "named": trial.origin is not None and (trial.on_front or trial.number in names),
                "layers": [places[layer] for layer in record.layers],
                "main": places[main_mixer(record)],
                "text": record.label,
                "values": {name: trial.value(name) for name in objectives},
                "spreads": dict(record.spreads),
                "seeds": len(trial.seeds),
                "confidence": round(trial.confidence, 4),
                "front": trial.on_front,
                "yaml": written(trial.design, layouts, config.target),
            }
            for trial, record in zip(trials, shown, strict=True)
        ],
        "prices": price_grid([t.design for t in trials], config),
    }
