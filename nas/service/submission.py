"""Configurations and layouts from outside: what may be in them, and what becomes of them.

A configuration that could import code would run it, so nothing is built of one before all its texts were looked at.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nas.config import Config
from nas.config.loading import load_plain
from nas.search.setup import check
from nas.service.settings import Allow, Limits, Settings
from search_space.catalogue import DOTTED
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.layout import Layout
from search_space.plain import check_plain

FREE = ("name", "tracking.experiment")
"""Texts for people, which name nothing."""


@dataclass(frozen=True)
class Gate:
    """Looks at the texts of plain data from outside.

    Args:
        allow: what they may name.
    """

    allow: Allow

    def __call__(self, content: Any, key: str = "") -> None:
        """Refuses plain data that names what no administrator has allowed.

        Args:
            content: a configuration, or what stands under a dotted key of one.
            key: that dotted key.

        Raises:
            InputError: names the key.
        """
        if isinstance(content, dict):
            for name, inside in content.items():
                self(str(name), key)  # names of tasks and mixers are keys
                self(inside, f"{key}.{name}" if key else str(name))
        elif isinstance(content, list | tuple):
            for inside in content:
                self(inside, key)
        elif isinstance(content, str) and key not in FREE:
            self._look(content, key)

    def _look(self, text: str, key: str) -> None:
        if key in ("workers.address", "tracking.uri"):
            allowed = self.allow.addresses if key == "workers.address" else self.allow.tracking
            if text not in allowed:
                known = ", ".join(allowed) or "nothing"
                raise InputError(key, text, f"null, or what the administrator allows ({known})")
        elif key == "target.profile" or key.rpartition(".")[2] == "paths":
            path, inside = Path(text), [Path(folder).resolve() for folder in self.allow.files]
            if not path.is_absolute() or not any(path.resolve().is_relative_to(each) for each in inside):
                raise InputError(key, text, "an absolute path that the administrator allows")
        for found in DOTTED.finditer(text) if key not in ("workers.address", "tracking.uri") else ():
            if not {found[0], found[0].partition(":")[0]} & set(self.allow.imports):
                raise InputError(key, text, "a name of the catalogue; the administrator allows no import of this")

    def layout(self, content: str | dict[str, Any]) -> Layout:
        """A layout in short, or as plain data.

        Raises:
            InputError: it cannot be used, or names what may not be named.
        """
        check_plain(content, "layout")
        self(content, "layout")
        return Layout.parse(content) if isinstance(content, str) else Layout.from_dict(content)

    def target(self, content: dict[str, Any]) -> Target:
        """A target of plain data; what it does not say is as in `nas.Target()`."""
        return load_plain({"target": content}, (), self).target


def configured(content: Any, overrides: Sequence[str], settings: Settings) -> Config:
    """The configuration of a search that somebody submits.

    Args:
        content: a whole configuration, or the name of a preset.
        overrides: `key=value`.
        settings: say what it may name, and how large it may be.

    Raises:
        InputError: it cannot be used.
    """
    config = load_plain(content, overrides, Gate(settings.allow))
    _within(config, settings.limits)
    if config.tracking.enabled and config.tracking.uri is None and settings.tracking is not None:
        config = replace(config, tracking=replace(config.tracking, uri=settings.tracking))
    if config.workers.pool == "ray" and config.workers.count is None:
        count = max(1, int(min(settings.cores, settings.limits.cores) / config.workers.cpus))
        config = replace(config, workers=replace(config.workers, count=count))
    check(config)
    return config


def cores_of(config: Config) -> int:
    """Cores that a search takes."""
    workers = config.workers
    return 1 if workers.pool == "local" else max(1, math.ceil((workers.count or 1) * workers.cpus))


def gpus_of(config: Config, settings: Settings) -> int:
    """GPUs that a search takes: in the local pool one, if there is any and it is not told to leave it alone."""
    workers, device = config.workers, config.training.device
    if workers.pool == "local":
        return int(device == "cuda" or (device is None and settings.gpus > 0))
    return math.ceil((workers.count or 1) * workers.gpus)


def _within(config: Config, limits: Limits) -> None:
    for key, value, most in (
        ("search.trials", config.search.trials, limits.trials),
        ("search.seconds", config.search.seconds, limits.seconds),
        ("space.layers", config.space.layers, limits.layers),
        ("target.layers", config.target.layers, limits.layers),
        ("training.steps", config.training.steps, limits.steps),
    ):
        if value is not None and value > most:
            raise InputError(key, value, f"at most {most:g}, as the administrator set it")


def identity_of(owner: str, key: str) -> str:
    """The identity of a user's search with that key: the same request again finds the same search."""
    return hashlib.sha256(f"{owner}\n{key}".encode()).hexdigest()[:16]


def digest_of(content: Any) -> str:
    """Tells two requests apart."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
