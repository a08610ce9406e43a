"""A search in an MLflow store: a parent run, and a child run for every trial.

Everything here waits for the store and raises what goes wrong; `tracking.runs` keeps that away from the search.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import yaml

from tracking.chart import (
    charts_link,
    colour_of,
    front_metric,
    layer_name,
    metrics_of,
    run_link,
    share_charts,
)
from tracking.records import FrontRecord, SearchRecord, TrialRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

# What MLflow takes in a batch of at most 1000 entries, and in one value.
BATCH_METRICS, BATCH_PARAMETERS = 800, 100
PARAMETER_CHARACTERS, NAME_CHARACTERS, TAG_CHARACTERS = 6000, 250, 8000

STATUS = {"complete": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
"""What MLflow calls the states of a search."""


class SearchRun:
    """Writes one search.

    What the store already holds is read first: a trial is known by its number, and whether it is up to date by the
    digest of its record, which is written last. So anything may be sent twice, and a write that was cut off is
    repeated.
    """

    def __init__(self, client: "MlflowClient", experiment: str, search: SearchRecord):
        self._client, self._experiment, self._search = client, experiment, search
        self._runs: dict[int, str] = {}
        self._names: dict[int, str] = {}
        self._digests: dict[int, str] = {}
        self._written: dict[int, TrialRecord] = {}
        self._parent = self._read()

    def _read(self) -> str:
        """Finds what is there; returns the id of the parent run, made if there is none."""
        parent, token = None, None
        while True:
            mine = f"tags.search_id = '{self._search.id}'"
            page = self._client.search_runs([self._experiment], mine, max_results=1000, page_token=token)
            for run in page:
                tags = run.data.tags
                if "trial" in tags:
                    number = int(tags["trial"])
                    self._runs[number], self._names[number] = run.info.run_id, run.info.run_name
                    self._digests[number] = tags.get("digest", "")
                else:
                    parent = run
            token = page.token
            if not token:
                break
        if parent is None:
            share_charts(self._client, self._experiment, self._search)
            tags = {"search_id": self._search.id}
            parent = self._client.create_run(self._experiment, run_name=self._search.name, tags=tags)
        self._client.update_run(parent.info.run_id, status="RUNNING")
        # A parameter cannot be changed: of a search that goes on with another budget, config.yaml says so.
        config = _flatten(yaml.safe_load(self._search.config_yaml) or {})
        new = {k: v for k, v in config.items() if _allowed(k) not in parent.data.params}
        traded = ", ".join(f"{name} ({objective.better})" for name, objective in self._search.objectives.items())
        self._log(parent.info.run_id, [], new, {"objectives": traded})
        self._client.log_text(parent.info.run_id, self._search.config_yaml, "config.yaml")
        return parent.info.run_id

    def write_trial(self, record: TrialRecord) -> None:
        """Makes the trial's run say what `record` says."""
        written = self._written.get(record.number)
        digest = record.digest()
        if record == written or self._digests.get(record.number) == digest:
            return
        metrics = _now_at({"confidence": record.confidence})
        if written is not None and _elsewhere(written, record) == record:
            self._log(self._runs[record.number], metrics, {}, {**self._look(record), "digest": digest})
        else:
            run_id = self._runs.get(record.number) or self._create(record)
            self._client.log_text(run_id, record.layout_yaml, "layout.yaml")
            self._client.set_terminated(run_id, "FINISHED" if record.state == "complete" else "FAILED")
            # Every write waits for the disk or the network: one batch takes all that fits.
            tags = {**_tags(record), **self._look(record), "digest": digest}
            self._log(run_id, self._metrics(record) + metrics, _parameters(record), tags)
        self._digests[record.number], self._written[record.number] = digest, record

    def _create(self, record: TrialRecord) -> str:
        """Makes the trial's run; returns its id."""
        run = self._client.create_run(
            self._experiment,
            start_time=_now() - int(1000 * record.seconds),
            run_name=self._name(record),
            tags={"mlflow.parentRunId": self._parent, "search_id": self._search.id, "trial": str(record.number)},
        )
        self._runs[record.number], self._names[record.number] = run.info.run_id, self._name(record)
        return run.info.run_id

    def _look(self, record: TrialRecord) -> dict[str, str]:
        """Tags that say how the trial stands, in words and in what the UI makes of them."""
        tags = {
            "front": str(record.on_front).lower(),
            "knee": str(record.knee).lower(),
            "mlflow.runColor": colour_of(record, self._search),
        }
        name = self._name(record)
        if name != self._names.get(record.number):  # which MLflow keeps in two places
            tags["mlflow.runName"] = self._names[record.number] = name
        return tags

    def _name(self, record: TrialRecord) -> str:
        """Of the trial's run: its number, and whatever distinguishes it, before the layout."""
        marks = [self._search.name] * (self._search.colour is not None) + [str(record.number)]
        marks += [record.origin] * (record.origin != "search") + ["(knee)"] * record.knee
        return f"{' '.join(marks)}: {record.label}"[:NAME_CHARACTERS]

    def _metrics(self, record: TrialRecord) -> list["Metric"]:
        """The trial's values and curves. MLflow drops a point that it has, so the points of a curve bear no time."""
        spreads = {f"{name}_spread": spread for name, spread in record.spreads.items()}
        values = {**metrics_of(record.objectives, self._search.objectives), **spreads}
        values |= {f"final_{name}": score for name, score in record.scores.items()}
        metrics = _now_at({**values, "seconds": record.seconds, "seeds": len(record.seeds)})
        for name, curve in record.curves.items():
            for step, value in curve:
                metrics += _at(step, 0, {f"by_step/{name}": value})
        return metrics

    def write_front(self, front: FrontRecord) -> None:
        """Makes the parent run say what was found, and the charts show the front."""
        for name, text in front.files.items():
            self._client.log_text(self._parent, text, name)
        objectives = self._search.objectives
        only = front_metric(front.runs)
        for member in front.members:
            if member.number in self._runs:  # or MLflow did not take it
                self._log(self._runs[member.number], _now_at({only: member.number}), {}, {})
        found: dict[str, float] = {"front_size": len(front.members), "runs": front.runs}
        for name, objective in objectives.items():
            values = [member.objectives[name] for member in front.members]
            if values:
                found[f"best_{name}"] = max(values) if objective.better == "high" else min(values)
        self._log(self._parent, _now_at(found), {}, {"mlflow.note.content": self._note(front)[:TAG_CHARACTERS]})
        depth = max((len(member.trained) for member in front.members), default=0)
        share_charts(self._client, self._experiment, self._search, depth, only if front.members else None)

    def _note(self, front: FrontRecord) -> str:
        """The description, with addresses within the UI; it shows three lines, and the rest on a click."""
        charts = charts_link(".", self._experiment, self._search.id)
        page = run_link(".", self._experiment, self._parent, "front.html")
        picture = f"get-artifact?path=front.svg&run_uuid={self._parent}"
        first, _, rest = front.description.partition("\n\n")
        links = f"[charts]({charts}) · [interactive page]({page})"
        return "\n\n".join([links, first, f"![The front]({picture})", rest])

    def write_status(self, status: str) -> None:
        """Sets the status of the search, in MLflow's words."""
        self._client.set_terminated(self._parent, status)

    def _log(self, run_id: str, metrics: list["Metric"], params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Writes in batches as large as MLflow takes; the tags last, as the digest is among them."""
        from mlflow.entities import Param, RunTag

        parameters = [Param(_allowed(k), str(v)[:PARAMETER_CHARACTERS]) for k, v in params.items()]
        while len(metrics) > BATCH_METRICS or len(parameters) > BATCH_PARAMETERS:
            self._client.log_batch(run_id, metrics[:BATCH_METRICS], parameters[:BATCH_PARAMETERS])
            metrics, parameters = metrics[BATCH_METRICS:], parameters[BATCH_PARAMETERS:]
        self._client.log_batch(run_id, metrics, parameters, [RunTag(k, v) for k, v in tags.items()])


def _elsewhere(record: TrialRecord, other: TrialRecord) -> TrialRecord:
    """The record, standing as another does."""
    return replace(record, on_front=other.on_front, knee=other.knee, confidence=other.confidence)


def _parameters(record: TrialRecord) -> dict[str, str]:
    """What never changes about the trial, as MLflow's parameters never do."""
    layers = {layer_name(i): block for i, block in enumerate(record.trained)}
    return {"layout": record.label, "origin": record.origin, **layers}


def _tags(record: TrialRecord) -> dict[str, str]:
    return {"state": record.state, "seeds": " ".join(map(str, record.seeds))}


def _now_at(values: Mapping[str, float]) -> list["Metric"]:
    """Values that replace what MLflow showed before; over no steps, as they are no curves."""
    return _at(0, _now(), values)


def _at(step: int, timestamp: int, values: Mapping[str, float]) -> list["Metric"]:
    from mlflow.entities import Metric

    return [Metric(_allowed(k), float(v), timestamp, step) for k, v in values.items()]


def _now() -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return int(1000 * time.time())


def _allowed(text: str) -> str:
    """`text` in the characters that MLflow takes in a name."""
    return re.sub(r"[^\w\-. :/]", "_", text, flags=re.ASCII)[:NAME_CHARACTERS]


def _flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
