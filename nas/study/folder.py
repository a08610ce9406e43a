"""The folder of a study: runs of one configuration that are no search.

study.yaml      the configuration, as it was last run with; no search can be mistaken for it, as its is config.yaml
runs.jsonl      one line for every run that ended, as a search's
"""

from dataclasses import asdict
from pathlib import Path

from nas.config import Config
from nas.config.loading import load_written
from nas.results.folder import STUDY, Folder
from search_space.errors import InputError


class StudyFolder(Folder):
    """Paths and records of one study."""

    CONFIG = STUDY

    @classmethod
    def of(cls, path: str | Path, config: Config, trust: bool = True) -> "StudyFolder":
        """The folder for runs of a configuration: a new one, or one that has such runs already.

        Raises:
            InputError: as `find`.
        """
        return cls.find(path, config, trust) or cls.create(path, config.to_yaml())

    @classmethod
    def find(cls, path: str | Path, config: Config, trust: bool = True) -> "StudyFolder | None":
        """The folder that has runs of a configuration; None where there is no study yet.

        Args:
            path: of the folder.
            config: that runs are trained with.
            trust: whether to import dotted paths that an earlier study's configuration names.

        Raises:
            InputError: a search is there, or a study whose runs could not be compared with new ones.
        """
        if (Path(path) / Folder.CONFIG).exists():
            raise InputError("--out", path, "a new folder, or one of nas fidelity; this one is of a search")
        if not (Path(path) / cls.CONFIG).exists():
            return None
        folder = cls.open(path, trust)
        before, now = (_trained(each) for each in (load_written(folder.config, (), trust), config))
        for key in dict.fromkeys((*before, *now)):
            if before.get(key) != now.get(key):
                expected = f"{before.get(key)}, as in the runs in {path}; or another folder"
                raise InputError(key, now.get(key), expected)
        return folder


def _trained(config: Config) -> dict[str, object]:
    """What decides what a run comes to: key -> value."""
    parts = {"proxy": asdict(config.proxy), "training": asdict(config.training), "tasks": config.all_tasks}
    keys = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
    return {**keys, "search.seed": config.search.seed}
