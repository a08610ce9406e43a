"""The charts of a search in MLflow's UI, and the links that open them.

The UI draws what a tag of the experiment describes, in a form that MLflow does not document (read off 3.17; a test
opens it in a browser).
"""

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from search_space.cost.objectives import Objective
from tracking.picture.palette import FAINT, INK, shade
from tracking.records import SearchRecord, TrialRecord, axes_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUNS_SHOWN = 100
"""The UI gets slow when it compares more."""
MOST_LAYERS = 12
"""Axes that have room for their names; of deeper layouts, evenly spread layers are shown."""
SCATTER_HEIGHT, LAYERS_HEIGHT = 440, 360
"""In pixels; a chart takes the whole width."""
KNEE, PUBLISHED = "#d0021b", "#b36a14"
"""Colours of the front's best trade, and of published layouts elsewhere than on the front."""
MODEL_TRAINING = "workflowType=machine_learning"
"""Part of addresses; without it the UI is the one for chats."""
PALER = 0.6
"""How much whiter the points off the front are, where a colour means a search."""
ALL = "searches"
"""Key of the view of all searches in an experiment."""


def metrics_of(values: Mapping[str, float], objectives: Mapping[str, Objective]) -> dict[str, float]:
    """The metrics of objectives' values: the values, and those of ratio scales on the scale of a chart as well."""
    scaled = {
        axis_of(name, objective): math.log2(max(values[name], objective.smallest))
        for name, objective in objectives.items()
        if objective.ratio and name in values
    }
    return {**values, **scaled}


def axis_of(name: str, objective: Objective) -> str:
    """The metric that stands for an objective on an axis: MLflow has no logarithmic ones."""
    return f"log2 {name}" if objective.ratio else name


def colour_of(record: TrialRecord, search: SearchRecord) -> str:
    """The colour of a trial's point."""
    if search.colour is not None:
        return search.colour if record.on_front else shade(search.colour, PALER)
    if record.on_front:
        return KNEE if record.knee else INK
    return FAINT if record.origin == "search" else PUBLISHED


def front_metric(runs: int) -> str:
    """A metric that the front of so many runs alone has, the trial's number: it keeps all others out of a chart.

    What a run once has in MLflow it cannot lose. So a front of more runs needs another metric.
    """
    return f"front {runs}"


def share_charts(
    client: "MlflowClient", experiment: str, search: SearchRecord, depth: int = 0, front: str | None = None
) -> None:
    """Puts charts of the search into the experiment: a point for each trial, and the layers of the front.

    Args:
        client: of the store.
        experiment: its id.
        search: whose charts they are.
        depth: number of layers that are trained.
        front: the metric that the front alone has; None before there is a front.
    """
    charts = [_scatter("front", search.objectives)]
    sections = [_section("front", f"{search.name}: front black, knee red", SCATTER_HEIGHT)]
    if front is not None:
        places = {round(i * (depth - 1) / (MOST_LAYERS - 1)) for i in range(MOST_LAYERS)}
        chosen = [layer_name(place) for place in sorted(places)]
        metrics = [front, *(axis_of(name, search.objectives[name]) for name in axes_of(search.objectives))]
        charts.append(_chart("layers", "PARALLEL", selectedParams=chosen, selectedMetrics=metrics, showAllRuns=False))
        sections.append(_section("layers", "layers of the front", LAYERS_HEIGHT))
    # The parent run has no point, and its children start folded away: trials alone.
    view = _view(f"tags.search_id = '{search.id}' AND tags.trial LIKE '%'", search.objectives, charts, sections)
    client.set_experiment_tag(experiment, _tag(search.id), json.dumps(view))


def share_all(client: "MlflowClient", experiment: str, searches: Mapping[str, Mapping[str, Objective]]) -> None:
    """Puts a chart of several searches into an experiment that holds no others; one for each pair of axes.

    Args:
        client: of the store.
        experiment: its id.
        searches: name -> the objectives of a search.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    objectives: dict[str, Objective] = {}
    for name, traded in searches.items():
        objectives |= traded
        groups.setdefault(axes_of(traded), []).append(name)
    charts, sections = [], []
    for axes, names in groups.items():
        key = " ".join(axes)
        charts.append(_scatter(key, {name: objectives[name] for name in axes}))
        sections.append(_section(key, f"{', '.join(names)}: fronts strong", SCATTER_HEIGHT))
    view = _view("tags.trial LIKE '%'", objectives, charts, sections)
    client.set_experiment_tag(experiment, _tag(ALL), json.dumps(view))


def charts_link(server: str, experiment: str, key: str) -> str:
    """The address that opens charts.

    Args:
        server: address of the MLflow server.
        experiment: id of the experiment.
        key: `SearchRecord.id`, or `ALL`.
    """
    view = f"viewStateShareKey={key}&compareRunsMode=CHART"
    return f"{server}/#/experiments/{experiment}/runs?{MODEL_TRAINING}&{view}"


def run_link(server: str, experiment: str, run: str, artifact: str = "") -> str:
    """The address of a run, or of one of its artifacts.

    Args:
        server: address of the MLflow server.
        experiment: id of the experiment.
        run: id of the run.
        artifact: its name.
    """
    place = f"/artifacts/{artifact}" if artifact else ""
    return f"{server}/#/experiments/{experiment}/runs/{run}{place}?{MODEL_TRAINING}"


def search_filter(key: str) -> str:
    """What finds the parent run of a search; trials have other tags."""
    return f"tags.search_id = '{key}' AND tags.objectives LIKE '%'"


def layer_name(place: int) -> str:
    """The parameter that says what stands in a layer."""
    return f"layer_{place:02d}"


def _tag(key: str) -> str:
    return f"mlflow.sharedViewState.{key}"


def _view(filter: str, objectives: Mapping[str, Objective], charts: list, sections: list) -> dict[str, Any]:
    columns = ["params.`layout`"]
    for name, objective in objectives.items():
        columns += [f"metrics.`{name}`"] + [f"metrics.`{name}_spread`"] * objective.measured
    return {
        "searchFilter": filter,
        # Those on the front first.
        "orderByKey": "tags.`front`",
        "orderByAsc": False,
        "selectedColumns": [*columns, "metrics.`confidence`", "metrics.`seeds`", "tags.`front`", "params.`origin`"],
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": charts,
        "compareRunSections": sections,
        # Else the sections are sorted by name, and the UI adds one for every group of metrics.
        "isAccordionReordered": True,
    }


def _scatter(section: str, objectives: Mapping[str, Objective]) -> dict[str, Any]:
    x, y = ({"key": axis_of(name, objectives[name]), "type": "METRIC"} for name in axes_of(objectives))
    return _chart(section, "SCATTER", xaxis=x, yaxis=y)


def _chart(section: str, kind: str, **settings: Any) -> dict[str, Any]:
    return {
        "uuid": f"{section}-chart",
        "type": kind,
        "runsCountToCompare": RUNS_SHOWN,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        **settings,
    }


def _section(key: str, name: str, height: int) -> dict[str, Any]:
    return {"uuid": key, "name": name, "columns": 1, "cardHeight": height, "display": True, "isReordered": False}
