"""The folders of the searches: all of a search that cannot be made again.

Each is the folder of a search (nas/results/folder.py), so every `nas` command reads it, with these beside:

.service/submission.json    who asked for what: the queue can be rebuilt from it
.service/process.json       what the process says of itself, how far it is, and how it ended
.service/job                the process as a job of Ray, where it is one
.service/*-trials.json, *-report.html    what was made of its record (kept.py)
.service/lock               held by the process as long as it lives, whatever ends it
.service/stop               asks the process to stop
search.log                  what the process printed
"""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nas.results.folder import Folder
from search_space.files import read_text, write_text

IDENTITY = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What was asked for, beside the configuration.

    Args:
        owner: who asked.
        name: of the search.
        digest: of the request; one key stands for one request.
        priority: -10 to 10, as it stood when it was submitted.
        cores: that it takes.
        gpus: that it takes.
        created: when, in seconds since 1970.
        wanted: what its owner wants of it: run, pause or stop.
        budget: `key=value` of search.trials and search.seconds that prolonged it.
    """

    owner: str
    name: str
    digest: str
    priority: int
    cores: int
    created: float
    gpus: int = 0
    wanted: str = "run"
    budget: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Process:
    """What the process of a search says of itself.

    Args:
        pid: its number, which is that of its process group too.
        born: tells it from a later process of that number; see `born`.
        host: where it runs.
        record: bytes that runs.jsonl had when it began.
        progress: fields of `nas.Progress`; None before the search begins.
        ending: "complete", "interrupted" or "failed"; None while it runs, and where something killed it.
        error: why it failed.
    """

    pid: int
    born: str
    host: str
    record: int
    progress: dict[str, Any] | None = None
    ending: str | None = None
    error: str | None = None


class Place:
    """The folder of one search."""

    def __init__(self, path: Path):
        self.path, self.own = path, path / ".service"

    @property
    def log(self) -> Path:
        """What the process printed."""
        return self.path / "search.log"

    @property
    def submission(self) -> Submission:
        """What was asked for.

        Raises:
            ValueError, TypeError: the file says something else (InputError is a ValueError).
        """
        found = json.loads(read_text(self.own / "submission.json", "submission"))
        return Submission(**{**found, "budget": tuple(found["budget"])})

    @submission.setter
    def submission(self, submission: Submission) -> None:
        write_text(self.own / "submission.json", json.dumps(asdict(submission)))

    @property
    def process(self) -> Process | None:
        """What the latest process said; None before any."""
        try:
            return Process(**json.loads(read_text(self.own / "process.json", "process")))
        except (ValueError, TypeError):
            return None

    @process.setter
    def process(self, process: Process | None) -> None:
        if process is None:
            (self.own / "process.json").unlink(missing_ok=True)
        else:
            write_text(self.own / "process.json", json.dumps(asdict(process)))

    @property
    def job(self) -> str | None:
        """The job of Ray that was handed over last; None where there is none."""
        with suppress(OSError):
            return (self.own / "job").read_text() or None
        return None

    @job.setter
    def job(self, identity: str | None) -> None:
        if identity is None:
            (self.own / "job").unlink(missing_ok=True)
        else:
            write_text(self.own / "job", identity)

    @property
    def record_bytes(self) -> int:
        """Size of runs.jsonl: it grows with every run that ends."""
        with suppress(OSError):
            return (self.path / "runs.jsonl").stat().st_size
        return 0

    def lock(self, patience: float) -> FileLock:
        """What the process holds as long as it lives; acquiring it raises `Timeout` after `patience` seconds."""
        return FileLock(self.own / "lock", timeout=patience)

    def alive(self) -> bool:
        """Whether a process runs here, on whatever machine."""
        if not self.own.is_dir():
            return False
        try:
            self.lock(0).acquire().lock.release()
        except Timeout:
            return True
        return False

    def ask_to_stop(self) -> None:
        """The process looks twice a second."""
        (self.own / "stop").touch()

    def asked_to_stop(self) -> bool:
        """Whether it should stop."""
        return (self.own / "stop").exists()

    def clear(self) -> None:
        """Makes the folder ready for the next process."""
        (self.own / "stop").unlink(missing_ok=True)
        self.process = self.job = None


class Folders:
    """All of them, in one folder that every server of the service sees."""

    def __init__(self, root: Path):
        self.root = root / "searches"
        self.root.mkdir(parents=True, exist_ok=True)

    def at(self, identity: str) -> Place:
        """The folder of a search, whether it is there or not.

        Raises:
            LookupError: that is no identity, so no path is made of it.
        """
        if not IDENTITY.fullmatch(identity):
            raise LookupError(identity)
        return Place(self.root / identity)

    def create(self, identity: str, config_yaml: str, submission: Submission) -> bool:
        """Makes the folder of a search, whole or not at all; returns False where it is there already."""
        new = Place(self.root / f".new-{secrets.token_hex(8)}")
        Folder.create(new.path, config_yaml)
        new.own.mkdir()
        new.submission = submission
        try:
            os.rename(new.path, self.at(identity).path)
        except OSError:  # somebody was faster
            shutil.rmtree(new.path, ignore_errors=True)
            return False
        return True

    def remove(self, identity: str) -> None:
        """Removes a folder: at once under its name, then what is in it."""
        trash = self.root / f".old-{secrets.token_hex(8)}"
        with suppress(FileNotFoundError):
            os.rename(self.at(identity).path, trash)
        shutil.rmtree(trash, ignore_errors=True)

    def identities(self) -> set[str]:
        """All searches that have a folder."""
        return {path.name for path in self.root.iterdir() if IDENTITY.fullmatch(path.name)}


def born(pid: int) -> str | None:
    """When a process began, as a text that no other process has had under its number; None where there is none."""
    try:
        if os.path.exists("/proc/self/stat"):
            state, *others = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            return None if state in "ZX" else f"{boot} {others[18]}"
        found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return found.stdout.strip() or None
    except OSError:
        return None


def host() -> str:
    """This machine's name."""
    return socket.gethostname()
