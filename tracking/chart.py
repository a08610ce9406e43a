"""MLflow's ready-made scatter chart of the front: a shared view, and the address that opens it.

The format is MLflow 3.17's own and undocumented; it lives in this file alone.
"""

import json

VIEW = "nas-front"


def chart_tags(x: str, y: str) -> dict[str, str]:
    """Tags of an experiment that hold a scatter chart of metric `y` against metric `x`."""
    chart = {
        "uuid": "nas-front-chart",
        "type": "SCATTER",
        "xaxis": {"key": x, "type": "METRIC"},
        "yaxis": {"key": y, "type": "METRIC"},
        "runsCountToCompare": 100,
        "metricSectionId": "nas-front-section",
        "deleted": False,
        "isGenerated": False,
    }
    section = {"uuid": "nas-front-section", "name": "Pareto front", "display": True, "isReordered": False}
    view = {"compareRunCharts": [chart], "compareRunSections": [section]}
    return {f"mlflow.sharedViewState.{VIEW}": json.dumps(view)}


def chart_address(server: str, experiment: str) -> str:
    """Where a browser finds the chart; without the workflow type MLflow opens a view that shows no runs."""
    query = f"workflowType=machine_learning&viewStateShareKey={VIEW}&compareRunsMode=CHART"
    return f"{server}/#/experiments/{experiment}/runs?{query}"
