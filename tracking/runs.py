"""The record that people read: a search and its trials as MLflow runs.

The run folder is the truth; MLflow shows it. Whatever becomes of the tracking server, the search goes on, and what
could not be written is written later from the records.
"""

import logging
import os
import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from search_space.errors import InputError
from tracking.chart import chart_tags

logger = logging.getLogger("nas.tracking")

SCHEMES = ("", "file", "sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")
RETRY_SECONDS = 20.0
CLOSE_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Where MLflow keeps its records.

    Args:
        enabled: whether anything is recorded in MLflow.
        uri: of a tracking server or database; null means an SQLite database in the run's folder.
        experiment: name of the MLflow experiment.
    """

    enabled: bool = True
    uri: str | None = None
    experiment: str = "nas"

    def __post_init__(self):
        if self.uri is not None and urlparse(self.uri).scheme.split("+")[0] not in SCHEMES:
            raise InputError("tracking.uri", self.uri, "a URI that MLflow knows, such as http://host:5000")


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """What is shown of a trial.

    Args:
        number: of the trial.
        label: the layout in short.
        layout_yaml: the layout as YAML.
        layers: the block of each layer.
        origin: "search", or the name of the published layout.
        state: "complete", "diverged" or "failed".
        recall: mean over seeds.
        spread: standard deviation over seeds; None for one seed.
        seeds: that it was trained with.
        efficiency: objective -> value at the target.
        scores: name -> value, such as "accuracy/recall/pairs_8".
        curves: name -> [(step, value), ...].
        seconds: of training, all seeds together.
        on_front: whether it is on the front.
        confidence: probability that it belongs there.
    """

    number: int
    label: str
    layout_yaml: str
    layers: tuple[str, ...]
    origin: str
    state: str
    recall: float
    spread: float | None
    seeds: tuple[int, ...]
    efficiency: dict[str, float]
    scores: dict[str, float]
    curves: dict[str, list[tuple[int, float]]]
    seconds: float
    on_front: bool
    confidence: float


class Tracker:
    """Writes to MLflow from a thread of its own, so that nothing waits for it.

    Args:
        tracking: where to.
        folder: of the run; holds the default database and its artifacts.
        search: name of the parent run.
        config_yaml: the whole configuration, kept as an artifact.
        axes: metric on the x and on the y axis of the ready-made chart.
    """

    def __init__(self, tracking: Tracking, folder: Path, search: str, config_yaml: str, axes: tuple[str, str]):
        self._tracking, self._folder = tracking, folder.absolute()
        self._search, self._config_yaml, self._axes = search, config_yaml, axes
        self._queue: queue.Queue[Callable[[Any], None] | None] = queue.Queue()
        self._closing = threading.Event()
        self._logged: dict[int, TrialRecord] = {}
        self._runs: dict[int, str] = {}
        self._parent = ""
        self._warned = False
        self._thread: threading.Thread | None = None
        if tracking.enabled:
            self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
            self._thread.start()

    def log(self, record: TrialRecord) -> None:
        """Writes a trial, or what changed of it since it was written."""
        self._queue.put(lambda client: self._write(client, record))

    def log_all(self, records: Iterable[TrialRecord]) -> None:
        """Writes whatever differs from what was written: front membership, mostly."""
        for record in records:
            self.log(record)

    def log_artifacts(self, paths: Iterable[Path]) -> None:
        """Keeps files with the parent run."""
        kept = [p for p in paths if p.exists()]
        self._queue.put(lambda client: [client.log_artifact(self._parent, str(p)) for p in kept])

    def close(self, status: str = "FINISHED") -> bool:
        """Writes what is left, for a minute at most; says whether all was written."""
        if self._thread is None:
            return True
        self._queue.put(lambda client: client.set_terminated(self._parent, status))
        self._queue.put(None)
        self._closing.set()
        self._thread.join(CLOSE_SECONDS)
        return not self._thread.is_alive() and self._queue.empty()

    def _work(self) -> None:
        client, task = None, None
        while True:
            task = task or self._queue.get()
            if task is None:
                return
            try:
                client = client or self._connect()
                task(client)
                task = None
            except Exception as error:
                if not self._warned:
                    self._warned = True
                    reason = (str(error).splitlines() or [type(error).__name__])[0]
                    logger.warning("MLflow cannot be written (%s); the search goes on without it", reason)
                if self._closing.wait(RETRY_SECONDS):
                    self._queue.put(None)
                    return

    def _connect(self) -> Any:
        """A client, with the parent run of this folder found or made."""
        uri = self._tracking.uri or f"sqlite:///{self._folder / 'mlflow.db'}"
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        import mlflow
        from mlflow.tracking import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        mlflow.set_tracking_uri(uri)
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name(self._tracking.experiment)
        if experiment is None:
            place = None if self._tracking.uri else (self._folder / "artifacts").as_uri()
            number = client.create_experiment(self._tracking.experiment, artifact_location=place)
        else:
            number = experiment.experiment_id
        for key, value in chart_tags(*self._axes).items():
            client.set_experiment_tag(number, key, value)
        folder = str(self._folder)
        found = client.search_runs([number], f"tags.`nas.folder` = '{folder}' and tags.`nas.kind` = 'search'")
        if found:
            self._parent = found[0].info.run_id
            client.update_run(self._parent, status="RUNNING")
        else:
            tags = {"nas.folder": folder, "nas.kind": "search"}
            self._parent = client.create_run(number, tags=tags, run_name=self._search).info.run_id
            client.log_text(self._parent, self._config_yaml, "config.yaml")
        self._experiment = number
        trials = client.search_runs([number], f"tags.`mlflow.parentRunId` = '{self._parent}'", max_results=10_000)
        self._runs = {int(run.data.tags["nas.trial"]): run.info.run_id for run in trials}
        return client

    def _write(self, client: Any, record: TrialRecord) -> None:
        from mlflow.entities import Metric, Param, RunTag

        before = self._logged.get(record.number)
        if before == record:
            return
        run = self._runs.get(record.number)
        if run is None:
            tags = {"mlflow.parentRunId": self._parent, "nas.trial": str(record.number)}
            created = client.create_run(self._experiment, tags=tags, run_name=f"{record.number}: {record.label}")
            run = self._runs[record.number] = created.info.run_id
            params = {"layout": record.label, "origin": record.origin}
            params |= {f"layer_{i:02d}": block for i, block in enumerate(record.layers)}
            for begin in range(0, len(params), 100):
                part = list(params.items())[begin : begin + 100]
                client.log_batch(run, params=[Param(key, value[:6000]) for key, value in part])
            client.log_text(run, record.layout_yaml, "layout.yaml")
        tags = {
            "front": str(record.on_front).lower(),
            "state": record.state,
            "seeds": " ".join(map(str, record.seeds)),
        }
        metrics = {"recall": record.recall, "confidence": record.confidence, "seconds": record.seconds}
        metrics |= {} if record.spread is None else {"recall_spread": record.spread}
        metrics |= {**record.efficiency, **record.scores}
        points = [Metric(key, float(value), 0, len(record.seeds)) for key, value in metrics.items()]
        if before is None or before.curves != record.curves:
            points += [Metric(f"curve/{k}", v, 0, s) for k, curve in record.curves.items() for s, v in curve]
        for begin in range(0, len(points), 1000):
            client.log_batch(run, metrics=points[begin : begin + 1000])
        client.log_batch(run, tags=[RunTag(key, value) for key, value in tags.items()])
        client.set_terminated(run, "FINISHED" if record.state == "complete" else "FAILED")
        self._logged[record.number] = record


QUIET = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""Environment of MLflow: fail soon (the writer tries again by itself), say nothing, send nothing."""
