"""The chart of the front in MLflow's UI, and the link that opens it.

The UI draws what a tag of the experiment describes, in a form that MLflow does not document (read off 3.17; a test
opens it in a browser).
"""

import json
from typing import TYPE_CHECKING

from tracking.records import SearchRecord, axes_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUNS_SHOWN = 100
"""The UI gets slow when it compares more."""
CHART_HEIGHT = 420
"""In pixels; the chart takes the whole width."""


def share_front_chart(client: "MlflowClient", experiment: str, search: SearchRecord) -> None:
    """Puts a scatter chart of the search into the experiment, over the axes that the picture has too."""
    section = "front"
    x, y = axes_of(search.objectives)
    chart = {
        "uuid": "front-chart",
        "type": "SCATTER",
        "xaxis": {"key": x, "type": "METRIC"},
        "yaxis": {"key": y, "type": "METRIC"},
        "runsCountToCompare": RUNS_SHOWN,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
    }
    view = {
        # Trials alone, those on the front first: the parent run has no point, and its children start folded away.
        "searchFilter": f"tags.search_id = '{search.id}' AND tags.trial LIKE '%'",
        "orderByKey": "tags.`front`",
        "orderByAsc": False,
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": [chart],
        "compareRunSections": [
            {
                "uuid": section,
                "name": search.name,
                "columns": 1,
                "cardHeight": CHART_HEIGHT,
                "display": True,
                "isReordered": False,
            }
        ],
        # Else the sections are sorted by name, and the UI adds one for every group of metrics.
        "isAccordionReordered": True,
    }
    client.set_experiment_tag(experiment, f"mlflow.sharedViewState.{search.id}", json.dumps(view))


def front_chart_link(server: str, experiment: str, search_id: str) -> str:
    """The address that opens the chart.

    Args:
        server: address of the MLflow server.
        experiment: id of the experiment.
        search_id: `SearchRecord.id`.
    """
    query = f"workflowType=machine_learning&viewStateShareKey={search_id}&compareRunsMode=CHART"
    return f"{server}/#/experiments/{experiment}/runs?{query}"
