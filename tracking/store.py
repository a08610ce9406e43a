"""Where searches are recorded: a SQLite database in the folder of the search, or an MLflow server."""

import os
import re
import shutil
import sqlite3
import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from search_space.errors import InputError
from search_space.files import read_text, replaced, write_text
from workers.watch import if_killed, removal

if TYPE_CHECKING:
    from mlflow import MlflowClient

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # What fails is raised, and told in a line by the tracker; below this MLflow logs tracebacks of SQLAlchemy.
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # A lost server is tried again later, by the tracker: no call need last.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
"""Settings of MLflow, where the environment does not say otherwise."""
IDENTITY_BYTES = 1000


@dataclass(frozen=True)
class Store:
    """An MLflow store.

    Args:
        uri: as MLflow takes it.
        database: the SQLite file; None for a server.
        owned: whether the database holds one search alone and moves with its folder.
    """

    uri: str
    database: Path | None = None
    owned: bool = False

    @staticmethod
    def locate(folder: str | Path, uri: str | None = None) -> "Store":
        """The store at `uri`, or else `mlflow.db` in `folder`. Nothing is opened or written.

        Raises:
            InputError: `uri` is neither a server nor a SQLite file in a folder that exists.
        """
        if uri is None:
            database = Path(folder).absolute() / "mlflow.db"
            # MLflow unquotes the path, so a % or a ? in it has to be quoted.
            return Store(f"sqlite:///{quote(str(database))}", database, owned=True)
        expected = "http://HOST:PORT of an MLflow server, sqlite:///PATH, or null for a database in the run's folder"
        if not isinstance(uri, str):
            raise InputError("tracking.uri", uri, expected)
        if uri.startswith("sqlite:///"):
            database = Path(unquote(uri.removeprefix("sqlite:///"))).absolute()
            try:
                usable = database.parent.is_dir() and (database.is_file() or not os.path.lexists(database))
            except (OSError, ValueError):
                usable = False
            if not usable or database.name == ":memory:":
                raise InputError("tracking.uri", uri, f"a file in a folder that exists, not {database}")
            return Store(f"sqlite:///{quote(str(database))}", database)
        try:
            parts = urlsplit(uri)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise InputError("tracking.uri", uri, expected)
        return Store(uri.rstrip("/"))

    @property
    def exists(self) -> bool:
        """Whether there is a database; of a server that is not asked."""
        return self.database is None or self.database.exists()

    @property
    def artifacts(self) -> Path | None:
        """Folder of the artifacts; None for a server, which has its own place for them."""
        return self.database.parent / "artifacts" if self.database else None

    def connect(self) -> "MlflowClient":
        """Opens the store, which is made where there is none. The import of MLflow takes seconds.

        Raises whatever MLflow does, `ImportError` included.
        """
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        if self.owned and self.database and self.artifacts:
            if self.database.exists() and self.database.stat().st_size:
                _relocate(self.database, self.artifacts.as_uri())
            else:
                _make(self.database)
        return MlflowClient(self.uri)

    def experiment(self, client: "MlflowClient", name: str) -> str:
        """The id of the experiment called `name`, made where there is none."""
        found = client.get_experiment_by_name(name)
        if found is not None:
            return found.experiment_id
        # Without this tag the UI opens the experiment in its view for chats, which shows no runs.
        kind = {"mlflow.experimentKind": "custom_model_development"}
        location = self.artifacts.as_uri() if self.artifacts else None
        return client.create_experiment(name, artifact_location=location, tags=kind)


def _make(database: Path) -> None:
    """Makes an empty database in one step.

    MLflow makes its tables in a hundred steps. On a disk they take seconds, and a process that is killed meanwhile
    leaves a database that nothing can repair: so they are taken in memory where there is a file system in memory.
    """
    from mlflow import MlflowClient

    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with TemporaryDirectory(prefix="mlflow-", dir=memory) as folder, if_killed(removal(folder)):
        made = Path(folder, "mlflow.db")
        MlflowClient(f"sqlite:///{quote(str(made))}").search_experiments(max_results=1)
        with replaced(database) as new:
            shutil.copy(made, new)


def _relocate(database: Path, artifacts: str) -> None:
    """Corrects the absolute addresses of artifacts in a database that was moved or copied with its folder."""
    with closing(sqlite3.connect(database)) as connection, connection:
        rows = connection.execute("SELECT experiment_id, artifact_location FROM experiments").fetchall()
        for experiment, old in rows:
            # The experiment that MLflow always makes for itself lies elsewhere and stays empty.
            if old == artifacts or not old.endswith("/artifacts"):
                continue
            connection.execute(
                "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (artifacts, experiment)
            )
            connection.execute(
                "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) WHERE experiment_id = ?",
                (artifacts, len(old) + 1, experiment),
            )


def search_id(folder: str | Path) -> str:
    """What tells the search in `folder` from all others in a store; made when it is first asked for.

    It lies in `.tracking_id`, with the path that the folder had then.
    """
    known, _ = _read_id(Path(folder))
    return known or _write_id(Path(folder), uuid.uuid4().hex[:16])


def own_search_id(folder: str | Path) -> str:
    """The same, for writing to a store that other folders share: the copy of a folder gets an id of its own.

    A folder that was moved keeps its id. It is told from a copy by the path that it had before: the original is still
    there.
    """
    here = Path(folder)
    known, path = _read_id(here)
    if path is not None and path != here.resolve() and _read_id(path)[0] == known:
        return _write_id(here, uuid.uuid4().hex[:16])
    return _write_id(here, known or uuid.uuid4().hex[:16])


def _read_id(folder: Path) -> tuple[str, Path | None]:
    """The id, "" where there is none, and the folder that it was written in; None where the file does not say."""
    try:
        text = read_text(folder / ".tracking_id", "DIR", IDENTITY_BYTES)
    except InputError:  # a damaged one is made anew, and the search is recorded anew with it
        return "", None
    found, path = [*text.splitlines(), "", ""][:2]
    found = found.strip()
    # It stands in queries of the store, and the folder may be anybody's.
    return found if re.fullmatch("[0-9a-f]+", found) else "", Path(path) if path else None


def _write_id(folder: Path, known: str) -> str:
    write_text(folder / ".tracking_id", f"{known}\n{folder.resolve()}\n")
    return known
