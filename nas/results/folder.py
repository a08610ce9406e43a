"""The folder of a search: its configuration, its runs, and who is working in it.

config.yaml     the whole configuration, as it was last resumed with; `nas search --config` repeats the search from it
runs.jsonl      one line for every run that ended: the record from which everything else is rebuilt
audit.jsonl     the same of the runs of `nas audit`
mlflow.db       what MLflow shows, with artifacts/ beside it; .tracking_id names the search's run there
front.svg, front.json, layouts/    the front, written when a search ends or pauses
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from search_space.errors import InputError
from search_space.layouts.layout import Layout
from workers.jobs import Outcome
from workers.training import Result


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run that ended: one layout, one seed.

    Args:
        trial: number of its trial; runs of one layout with several seeds share it.
        origin: "search", or the name of the layout in the queue (published, or of the study).
        elapsed: seconds of search, over all its sessions, when the run ended; runs that were one job share it.
        error: what went wrong, where there is no result.
    """

    trial: int
    origin: str
    layout: Layout
    elapsed: float
    result: Result | None
    error: str | None = None

    @staticmethod
    def of(outcome: Outcome, origin: str, elapsed: float) -> "list[RunRecord]":
        """The runs of a job, in the order of its seeds."""
        results = outcome.results or (None,) * len(outcome.job.seeds)
        return [
            RunRecord(
                trial=outcome.job.trial,
                origin=origin,
                layout=outcome.job.layout,
                elapsed=elapsed,
                result=result,
                error=outcome.error,
            )
            for result in results
        ]

    def to_line(self) -> str:
        """As a line of JSON."""
        fields = {**vars(self), "layout": self.layout.to_dict()}
        if self.result is not None:
            fields["result"] = asdict(self.result)
        return json.dumps(fields)

    @staticmethod
    def from_line(line: str) -> "RunRecord":
        """The reverse of `to_line`."""
        fields = json.loads(line)
        fields["layout"] = Layout.from_dict(fields["layout"])
        if fields["result"] is not None:
            curves = fields["result"]["curves"]
            fields["result"]["curves"] = {k: [(s, v) for s, v in curve] for k, curve in curves.items()}
            fields["result"] = Result(**fields["result"])
        return RunRecord(**fields)


class Folder:
    """Paths and records of one search."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.runs = self.path / "runs.jsonl"
        self.audit = self.path / "audit.jsonl"
        self.front_figure = self.path / "front.svg"
        self.front_json = self.path / "front.json"
        self.layouts = self.path / "layouts"

    @staticmethod
    def create(path: str | Path, config_yaml: str) -> "Folder":
        """Makes the folder of a new search.

        Raises:
            InputError: something is there already, or nothing can be written there.
        """
        folder = Folder(path)
        if folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir())):
            raise InputError(
                "--out", path, "a new folder (go on with a search by `nas resume`, or name another folder)"
            )
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.write_config(config_yaml)
        except OSError as error:
            raise InputError("--out", path, f"a folder that can be written ({error.strerror})") from error
        return folder

    def write_config(self, config_yaml: str) -> None:
        """Puts the configuration in the place of an earlier one, whole or not at all."""
        new = self.config.with_suffix(".new")
        new.write_text(config_yaml)
        new.replace(self.config)

    def discard(self) -> None:
        """Removes the folder of a search that could not begin."""
        if not self.runs.exists():
            shutil.rmtree(self.path)

    @staticmethod
    def open(path: str | Path) -> "Folder":
        """The folder of a search that was begun before.

        Raises:
            InputError: there is none.
        """
        folder = Folder(path)
        if not folder.config.is_file():
            raise InputError("DIR", path, "the folder of a search (it holds no config.yaml)")
        return folder

    def checked_config(self) -> Path:
        """The configuration file, if this version of the program wrote it.

        Raises:
            InputError: another version did; its runs would not be comparable with new ones.
        """
        try:
            version = (yaml.safe_load(self.config.read_text()) or {}).get("version")
        except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
            raise InputError("DIR", self.path, "a folder with a readable config.yaml") from error
        if version != __version__:
            raise InputError("DIR", self.path, f"a search of nas {__version__}; this one belongs to {version}")
        return self.config

    def running(self) -> bool:
        """Whether a process is searching here."""
        try:
            with self.lock():
                return False
        except InputError:
            return True

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder for this process.

        Raises:
            InputError: another process is searching in it.
        """
        held = FileLock(self.path / ".lock")
        try:
            held.acquire(timeout=0)
        except Timeout:
            raise InputError("DIR", self.path, "a search that is not running; another process works in it") from None
        try:
            yield
        finally:
            held.release()

    def append(self, records: Sequence[RunRecord]) -> None:
        """Adds the runs of a job to the record; they are on the disk when this returns."""
        _append(self.runs, records)

    def append_audit(self, records: Sequence[RunRecord]) -> None:
        """Adds the runs of a job to the record of the audit."""
        _append(self.audit, records)

    def read(self) -> list[RunRecord]:
        """All runs, in the order in which they ended.

        A last line that was cut off by a crash is left out; `mend` removes it before more is written.
        """
        return _read(self.runs)

    def read_audit(self) -> list[RunRecord]:
        """The runs of the audit, likewise."""
        return _read(self.audit)

    def mend(self) -> None:
        """Cuts off last lines that a crash left unfinished."""
        for path in (self.runs, self.audit):
            if path.exists():
                content = path.read_bytes()
                whole = content[: content.rfind(b"\n") + 1]
                if len(whole) < len(content):
                    os.truncate(path, len(whole))


def _append(path: Path, records: Sequence[RunRecord]) -> None:
    with path.open("a") as file:
        file.write("".join(record.to_line() + "\n" for record in records))
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> list[RunRecord]:
    if not path.exists():
        return []
    lines = path.read_text().split("\n")
    try:
        return [RunRecord.from_line(line) for line in lines[:-1]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("DIR", path.parent, f"a readable {path.name} ({error})") from error
