"""The folder of a search: its configuration, its runs, and who is working in it.

config.yaml     the whole configuration, as it was last resumed with; `nas search --config` repeats the search from it
runs.jsonl      one line for every run that ended: the record from which everything else is rebuilt
audit.jsonl     the same of the runs of `nas audit`
running.json    what is under way, while a process searches
summary.json    how the search stands, for `nas status` and `nas front`
mlflow.db       what MLflow shows, with artifacts/ beside it; .tracking_id names the search's run there
front.svg, front.json, layouts/    the front, written when a search ends or pauses
weights/        trained weights of the front, with search.keep_weights
report.html     the page of `nas report`
"""

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from nas.config.settings import FORMAT
from nas.results.reading import READERS, LineReader
from nas.results.records import RunRecord
from nas.results.running import LOCK, RUNNING
from nas.results.summary import AUDIT, CONFIG, RUNS, SUMMARY
from search_space import limits
from search_space.errors import InputError
from search_space.files import read_lines, reason, write_text
from search_space.plain import read_yaml

STUDY = "study.yaml"
"""The configuration in a folder of runs that are no search (`nas fidelity`)."""


class Folder:
    """Paths and records of one search.

    Class attributes:
        CONFIG: name of the file with the configuration.
    """

    CONFIG = CONFIG

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config = self.path / self.CONFIG
        self.runs = self.path / RUNS
        self.audit = self.path / AUDIT
        self.front_figure = self.path / "front.svg"
        self.front_json = self.path / "front.json"
        self.layouts = self.path / "layouts"
        self.report = self.path / "report.html"
        self.weights = self.path / "weights"
        self.running_jobs = self.path / RUNNING
        self.summary = self.path / SUMMARY
        self._lock = self.path / LOCK
        self._was_there, self._trusted = False, True
        self._read_before: dict[Path, tuple[tuple[int, int], list[RunRecord]]] = {}

    @classmethod
    def create(cls, path: str | Path, config_yaml: str) -> Self:
        """Makes the folder of a new search; one that is there and empty will do.

        Raises:
            InputError: something is there already, or nothing can be written there.
        """
        folder = cls(path)
        try:
            folder._was_there = folder.path.exists()
            if folder._was_there and (not folder.path.is_dir() or any(folder.path.iterdir())):
                expected = "a new folder (go on with a search by `nas resume`, or name another folder)"
                raise InputError("--out", path, expected)
            os.fsencode(folder.path).decode()  # MLflow and the records name it in UTF-8
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.write_config(config_yaml)
        except InputError:
            raise
        except (OSError, ValueError) as error:
            raise InputError("--out", path, f"a folder that can be written ({reason(error)})") from error
        return folder

    @classmethod
    def open(cls, path: str | Path, trust: bool = True) -> Self:
        """The folder of a search that was begun before.

        Args:
            path: of the folder.
            trust: whether to import dotted paths that its records name.

        Raises:
            InputError: there is none, or this program cannot read its record format.
        """
        folder = cls(path)
        folder._trusted = trust
        if not os.path.lexists(folder.config):
            instead = "no config.yaml" if not os.path.lexists(folder.path / STUDY) else f"{STUDY}, as of nas fidelity"
            raise InputError("DIR", path, f"the folder of a search (it holds {instead})")
        _ = folder.format
        return folder

    @property
    def format(self) -> int:
        """Number of the record format that its files are written in.

        Raises:
            InputError: this program does not know it.
        """
        try:
            content = read_yaml(self.config, "DIR") or {}
        except InputError as error:
            raise InputError("DIR", self.path, f"a folder with a readable {self.CONFIG}: {error.expected}") from error
        if not isinstance(content, dict):
            raise InputError("DIR", self.path, f"a folder with a readable {self.CONFIG}: a mapping of keys")
        found, version = content.get("format"), content.get("version")
        if type(found) is not int or found not in READERS:
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
        write_text(self.config, config_yaml)

    def discard(self) -> None:
        """Removes what `create` made for a search that could not begin; a folder that was there before stays, empty."""
        if self.runs.exists():
            return
        for item in self.path.iterdir():
            shutil.rmtree(item) if item.is_dir() else item.unlink()
        if not self._was_there:
            self.path.rmdir()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder for this process.

        Raises:
            InputError: another process is searching in it, or what it would write to is not what it should be.
        """
        self._check_places()
        held = FileLock(self._lock)
        try:
            held.acquire(timeout=0)
        except Timeout:
            raise InputError("DIR", self.path, "a search that is not running; another process works in it") from None
        except OSError as error:
            raise InputError("DIR", self.path, f"a folder that can be written ({reason(error)})") from error
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

    def _check_places(self) -> None:
        """Files have to be files, and folders folders, all of them in this folder and none elsewhere."""
        files = (
            self.config,
            self.runs,
            self.audit,
            self.front_figure,
            self.front_json,
            self.running_jobs,
            self.summary,
            self._lock,
        )
        folders = (self.layouts, self.weights)
        for place in (*files, *folders):
            right = place.is_dir() if place in folders else place.is_file()
            if os.path.lexists(place) and (place.is_symlink() or not right):
                kind = "a folder" if place in folders else "a file"
                raise InputError("DIR", place, f"{kind} of its own or nothing: move it away")

    def _read(self, path: Path) -> list[RunRecord]:
        if not os.path.lexists(path):
            return []
        stamp = (path.stat().st_mtime_ns, path.stat().st_size)
        if path in self._read_before and self._read_before[path][0] == stamp:
            return list(self._read_before[path][1])
        reader, records = LineReader(self.format, self._trusted), list[RunRecord]()
        for line in read_lines(path, "DIR", limits.RECORD_BYTES):
            if not line.endswith("\n"):
                break
            try:
                records.append(reader.record(line))
            except InputError as error:
                raise InputError(f"{path} line {len(records) + 1}: {error.key}", error.value, error.expected) from error
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
                expected = f"a run's record ({reason(error)}); without the line the rest can be read"
                raise InputError("DIR", f"{path} line {len(records) + 1}", expected) from error
        self._read_before[path] = stamp, records
        return list(records)


def short_names(paths: Sequence[Path]) -> list[str]:
    """What folders of searches are called side by side: their last names, and the paths of those that share one."""
    short = [path.resolve().name for path in paths]
    return [name if short.count(name) == 1 else str(path) for name, path in zip(short, paths, strict=True)]


def _append(path: Path, records: Sequence[RunRecord]) -> None:
    lines = "".join(record.to_line() + "\n" for record in records).encode()
    try:
        with path.open("ab", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            try:
                if file.write(lines) < len(lines):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                os.truncate(path, size)  # so that the record stays whole lines
                raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
