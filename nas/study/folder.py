"""The folder of a study: runs of one configuration that are no search.

study.yaml      the configuration, as it was last run with; no search can be mistaken for it, as its is config.yaml
runs.jsonl      one line for every run that ended, as a search's
"""

from pathlib import Path
from typing import Any

from nas.config import Config
from nas.results.folder import STUDY, Folder
from search_space.errors import InputError
from search_space.plain import parse_yaml, read_yaml


class StudyFolder(Folder):
    """Paths and records of one study."""

    CONFIG = STUDY

    @classmethod
    def of(cls, path: str | Path, config: Config, trust: bool = False) -> "StudyFolder":
        """The folder for runs of a configuration: a new one, or one that has such runs already.

        Raises:
            InputError: as `find`.
        """
        return cls.find(path, config, trust) or cls.create(path, config.to_yaml())

    @classmethod
    def find(cls, path: str | Path, config: Config, trust: bool = False) -> "StudyFolder | None":
        """The folder that has runs of a configuration; None where there is no study yet.

        Args:
            path: of the folder.
            config: that runs are trained with.
            trust: whether to import dotted paths that its records name.

        Raises:
            InputError: a search is there, or a study whose runs could not be compared with new ones.
        """
        if (Path(path) / Folder.CONFIG).exists():
            raise InputError("--out", path, "a new folder, or one of nas fidelity; this one is of a search")
        if not (Path(path) / cls.CONFIG).exists():
            return None
        folder = cls.open(path, trust)
        # A key that came later has its default, with which runs are as they were before.
        now, usual = (_trained(parse_yaml(each.to_yaml(), "config")) for each in (config, Config()))
        before = usual | _trained(read_yaml(folder.config, "DIR"))
        for key in dict.fromkeys((*now, *before)):
            if before.get(key) != now.get(key):
                expected = f"{before.get(key)}, as in the runs in {path}; or another folder"
                raise InputError(key, now.get(key), expected)
        return folder


PARTS = ("proxy", "training", "tasks", "text")
"""Of a configuration, what decides what a run comes to, beside the first seed."""


def _trained(content: dict[str, Any]) -> dict[str, Any]:
    """What decides what a run comes to, of a configuration as plain data: key -> value."""
    found = {f"{part}.{name}": value for part in PARTS for name, value in (content.get(part) or {}).items()}
    return {**found, "search.seed": (content.get("search") or {}).get("seed")}
