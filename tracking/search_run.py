"""A search in an MLflow store: a parent run, and a child run for every trial.

Everything here waits for the store and raises what goes wrong; `tracking.runs` keeps that away from the search.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tracking.chart import share_front_chart
from tracking.records import SearchRecord, TrialRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

# What MLflow takes in a batch of at most 1000 entries, and in one value.
BATCH_METRICS, BATCH_PARAMETERS = 800, 100
PARAMETER_CHARACTERS, NAME_CHARACTERS = 6000, 250

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
        self._digests: dict[int, str] = {}
        self._written: dict[int, TrialRecord] = {}
        self._parent = self._read()
        share_front_chart(client, experiment, search)

    def _read(self) -> str:
        """Finds what is there; returns the id of the parent run, made if there is none."""
        parent, token = None, None
        while True:
            mine = f"tags.search_id = '{self._search.id}'"
            page = self._client.search_runs([self._experiment], mine, max_results=1000, page_token=token)
            for run in page:
                tags = run.data.tags
                if "trial" in tags:
                    self._runs[int(tags["trial"])] = run.info.run_id
                    self._digests[int(tags["trial"])] = tags.get("digest", "")
                else:
                    parent = run
            token = page.token
            if not token:
                break
        if parent is None:
            tags = {"search_id": self._search.id}
            parent = self._client.create_run(self._experiment, run_name=self._search.name, tags=tags)
        self._client.update_run(parent.info.run_id, status="RUNNING")
        # A parameter cannot be changed: of a search that goes on with another budget, config.yaml says so.
        config = _flatten(yaml.safe_load(self._search.config_yaml) or {})
        new = {k: v for k, v in config.items() if _name(k) not in parent.data.params}
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
        metrics = _at(len(record.seeds), _now(), {"confidence": record.confidence})
        tags = {"front": str(record.on_front).lower(), "digest": digest}
        if written is not None and replace(written, on_front=record.on_front, confidence=record.confidence) == record:
            self._log(self._runs[record.number], metrics, {}, tags)
        else:
            run_id = self._runs.get(record.number) or self._create(record)
            self._client.log_text(run_id, record.layout_yaml, "layout.yaml")
            self._client.set_terminated(run_id, "FINISHED" if record.state == "complete" else "FAILED")
            # Every write waits for the disk or the network: one batch takes all that fits.
            self._log(run_id, _metrics(record) + metrics, _parameters(record), _tags(record) | tags)
        self._digests[record.number], self._written[record.number] = digest, record

    def _create(self, record: TrialRecord) -> str:
        """Makes the trial's run; returns its id."""
        run = self._client.create_run(
            self._experiment,
            start_time=_now() - int(1000 * record.seconds),
            run_name=f"{record.number}: {record.label}"[:NAME_CHARACTERS],
            tags={"mlflow.parentRunId": self._parent, "search_id": self._search.id, "trial": str(record.number)},
        )
        self._runs[record.number] = run.info.run_id
        return run.info.run_id

    def write_artifact(self, path: Path) -> None:
        """Copies a file to the parent run."""
        self._client.log_artifact(self._parent, str(path))

    def write_status(self, status: str) -> None:
        """Sets the status of the search, in MLflow's words."""
        self._client.set_terminated(self._parent, status)

    def _log(self, run_id: str, metrics: list["Metric"], params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Writes in batches as large as MLflow takes; the tags last, as the digest is among them."""
        from mlflow.entities import Param, RunTag

        parameters = [Param(_name(k), str(v)[:PARAMETER_CHARACTERS]) for k, v in params.items()]
        while len(metrics) > BATCH_METRICS or len(parameters) > BATCH_PARAMETERS:
            self._client.log_batch(run_id, metrics[:BATCH_METRICS], parameters[:BATCH_PARAMETERS])
            metrics, parameters = metrics[BATCH_METRICS:], parameters[BATCH_PARAMETERS:]
        self._client.log_batch(run_id, metrics, parameters, [RunTag(k, v) for k, v in tags.items()])


def _metrics(record: TrialRecord) -> list["Metric"]:
    """The trial's values and curves.

    MLflow shows the value of the latest step, and drops a point that it has: so the step of a value is the number of
    seeds behind it, and the points of a curve bear no time.
    """
    spreads = {f"{name}_spread": spread for name, spread in record.spreads.items()}
    values = {**record.objectives, **spreads, **record.scores}
    metrics = _at(len(record.seeds), _now(), {**values, "seconds": record.seconds, "seeds": len(record.seeds)})
    for name, curve in record.curves.items():
        for step, value in curve:
            metrics += _at(step, 0, {f"curves/{name}": value})
    return metrics


def _parameters(record: TrialRecord) -> dict[str, str]:
    """What never changes about the trial, as MLflow's parameters never do."""
    layers = {f"layer_{i:02d}": mixer for i, mixer in enumerate(record.layers)}
    return {"layout": record.label, "origin": record.origin, **layers}


def _tags(record: TrialRecord) -> dict[str, str]:
    return {"state": record.state, "seeds": " ".join(map(str, record.seeds))}


def _at(step: int, timestamp: int, values: Mapping[str, float]) -> list["Metric"]:
    from mlflow.entities import Metric

    return [Metric(_name(k), float(v), timestamp, step) for k, v in values.items()]


def _now() -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return int(1000 * time.time())


def _name(text: str) -> str:
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
