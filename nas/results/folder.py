"""The folder of a search: its configuration, its runs, and who is working in it.

config.yaml     the whole configuration, as it was last resumed with; `nas search --config` repeats the search from it
runs.jsonl      one line for every run that ended: the record from which everything else is rebuilt
audit.jsonl     the same of the runs of `nas audit`
running.json    what is under way, while a process searches
mlflow.db       what MLflow shows, with artifacts/ beside it; .tracking_id names the search's run there
front.svg, front.json, layouts/    the front, written when a search ends or pauses
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from nas.config.settings import FORMAT
from nas.results.records import READERS, RunRecord
from search_space.errors import InputError


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
        self.running_jobs = self.path / "running.json"
        self._lock = self.path / ".lock"
        self._was_there = False
        self._read_before: dict[Path, tuple[tuple[int, int], list[RunRecord]]] = {}

    @staticmethod
    def create(path: str | Path, config_yaml: str) -> "Folder":
        """Makes the folder of a new search; one that is there and empty will do.

        Raises:
            InputError: something is there already, or nothing can be written there.
        """
        folder = Folder(path)
        folder._was_there = folder.path.exists()
        if folder._was_there and (not folder.path.is_dir() or any(folder.path.iterdir())):
            raise InputError(
                "--out", path, "a new folder (go on with a search by `nas resume`, or name another folder)"
            )
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.write_config(config_yaml)
        except OSError as error:
            raise InputError("--out", path, f"a folder that can be written ({error.strerror})") from error
        return folder

    @staticmethod
    def open(path: str | Path) -> "Folder":
        """The folder of a search that was begun before.

        Raises:
            InputError: there is none, or this program cannot read its record format.
        """
        folder = Folder(path)
        if not folder.config.is_file():
            raise InputError("DIR", path, "the folder of a search (it holds no config.yaml)")
        _ = folder.format
        return folder

    @property
    def format(self) -> int:
        """Number of the record format that its files are written in.

        Raises:
            InputError: this program does not know it.
        """
        try:
            content: dict[str, Any] = yaml.safe_load(self.config.read_text()) or {}
            found, version = content.get("format"), content.get("version")
        except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
            raise InputError("DIR", self.path, "a folder with a readable config.yaml") from error
        if not isinstance(found, int) or found not in READERS:
            other = f"nas {version}" if found is None and version is not None else f"format {found}"
            known = ", ".join(map(str, READERS))
            raise InputError("DIR", self.path, f"a search in record format {known}; this one was written by {other}")
        return found

    def checked_config(self) -> Path:
        """The configuration file of a search that this version of the program can go on with.

        Raises:
            InputError: another version began it; its runs could not be compared with new ones.
        """
        if self.format != FORMAT:
            raise InputError(
                "DIR", self.path, f"a search in record format {FORMAT}; one in format {self.format} can only be read"
            )
        return self.config

    def write_config(self, config_yaml: str) -> None:
        """Puts the configuration in the place of an earlier one, whole or not at all."""
        new = self.config.with_suffix(".new")
        new.write_text(config_yaml)
        new.replace(self.config)

    def discard(self) -> None:
        """Removes what `create` made for a search that could not begin; a folder that was there before stays, empty."""
        if self.runs.exists():
            return
        for item in self.path.iterdir():
            shutil.rmtree(item) if item.is_dir() else item.unlink()
        if not self._was_there:
            self.path.rmdir()

    def running(self) -> bool:
        """Whether a process is searching here; looks without writing anything."""
        if not self._lock.exists():
            return False
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
        held = FileLock(self._lock)
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

        Raises:
            InputError: the file holds something else.
        """
        return self._read(self.runs)

    def read_audit(self) -> list[RunRecord]:
        """The runs of the audit, likewise."""
        return self._read(self.audit)

    def mend(self) -> None:
        """Cuts off last lines that a crash left unfinished."""
        for path in (self.runs, self.audit):
            if path.exists():
                content = path.read_bytes()
                whole = content[: content.rfind(b"\n") + 1]
                if len(whole) < len(content):
                    os.truncate(path, len(whole))

    def _read(self, path: Path) -> list[RunRecord]:
        if not path.exists():
            return []
        stamp = (path.stat().st_mtime_ns, path.stat().st_size)
        if path in self._read_before and self._read_before[path][0] == stamp:
            return list(self._read_before[path][1])
        record_format = self.format
        try:
            with path.open() as lines:
                found = [RunRecord.from_line(line, record_format) for line in lines if line.endswith("\n")]
            self._read_before[path] = stamp, found
            return list(found)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError("DIR", path.parent, f"a readable {path.name} ({error})") from error


def _append(path: Path, records: Sequence[RunRecord]) -> None:
    with path.open("a") as file:
        file.write("".join(record.to_line() + "\n" for record in records))
        file.flush()
        os.fsync(file.fileno())
