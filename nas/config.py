"""The configuration: presets, files and `key=value` overrides, merged over the dataclasses of the rooms."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from nas import __version__
from nas.controller import Search
from nas.samplers import SAMPLERS
from search_space.errors import InputError, one_of
from search_space.objectives import EFFICIENCY
from search_space.space import Space, SpaceConfig
from search_space.target import Target
from tracking.store import Store
from workers.model import Proxy
from workers.pool import Workers
from workers.tasks.suite import Suite, build_suite
from workers.training import Training


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Your own text, as one more task of the suite.

    Args:
        paths: files and folders; empty leaves the task out.
        tokens: size of the byte-pair vocabulary.
        weight: share of the training batch, relative to the other tasks.
    """

    paths: list[str] = field(default_factory=list)
    tokens: int = 512
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Where MLflow keeps its records.

    Args:
        enabled: whether anything is recorded in MLflow.
        uri: of a tracking server or an SQLite file; null means a database in the run's folder.
        experiment: name of the MLflow experiment.
    """

    enabled: bool = True
    uri: str | None = None
    experiment: str = "nas"


@dataclass(frozen=True, kw_only=True)
class Config:
    """The whole configuration of a search.

    Args:
        version: of the program that wrote it.
        name: of the search, in MLflow.
        space: what may be searched.
        target: what efficiency is stated for.
        proxy: the small model that stands in for it.
        training: how the proxy is trained.
        tasks: label -> options of a recall task; `task` names it where the label does not.
        text: your own text.
        search: how the search is run.
        workers: where runs are spread.
        tracking: where MLflow keeps its records.
    """

    version: str = __version__
    name: str = "search"
    space: SpaceConfig = field(default_factory=SpaceConfig)
    target: Target = field(default_factory=Target)
    proxy: Proxy = field(default_factory=Proxy)
    training: Training = field(default_factory=Training)
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    text: TextConfig = field(default_factory=TextConfig)
    search: Search = field(default_factory=Search)
    workers: Workers = field(default_factory=Workers)
    tracking: Tracking = field(default_factory=Tracking)

    def __post_init__(self):
        if self.search.efficiency not in EFFICIENCY:
            expected = one_of(self.search.efficiency, list(EFFICIENCY))
            raise InputError("search.efficiency", self.search.efficiency, expected)

    @property
    def all_tasks(self) -> dict[str, dict[str, Any]]:
        """The tasks, the user's text among them."""
        if not self.text.paths:
            return self.tasks
        paths = [str(Path(p).absolute()) for p in self.text.paths]
        options = {"paths": paths, "tokens": self.text.tokens, "weight": self.text.weight}
        return {**self.tasks, "text": {**self.tasks.get("text", {}), **options}}

    def suite(self) -> Suite:
        """The recall suite.

        Raises:
            InputError: a task or option cannot be used; the key begins with "tasks".
        """
        try:
            return build_suite(self.all_tasks, self.training.length)
        except InputError as error:
            if self.text.paths and error.key.startswith("tasks.text"):
                raise InputError(error.key.removeprefix("tasks."), error.value, error.expected) from error
            raise

    def check(self) -> Space:
        """Builds what can be built without training, so that mistakes show before anything is begun.

        Returns:
            The search space.

        Raises:
            InputError: something in the configuration cannot be used.
        """
        from search_space.cost import cost
        from search_space.layout import Layout
        from workers.model import ProxyModel

        Store.locate(".", self.tracking.uri)
        SAMPLERS.get(self.search.sampler, key="search.sampler")
        space = Space(self.space, self.target)
        suite = self.suite()
        blocks = {block for slot in space.slots for block in space.blocks(slot)}
        for block in sorted(blocks, key=str):
            ProxyModel(Layout((block,)), self.proxy, suite.vocabulary, seed=0)
            cost(Layout((block,)), self.target)
        return space

    def to_yaml(self) -> str:
        """As a file that `load` reads back."""
        return OmegaConf.to_yaml(OmegaConf.structured(self))


def presets() -> list[str]:
    """Names of the presets."""
    return sorted(p.name.removesuffix(".yaml") for p in files("nas.presets").iterdir() if p.name.endswith(".yaml"))


def load(source: str | Path = "laptop", overrides: Sequence[str] = ()) -> Config:
    """The configuration of a preset or file, with overrides.

    Args:
        source: name of a preset, or path of a YAML file.
        overrides: `key=value`, where key is a dotted path and value is YAML.

    Raises:
        InputError: no such file, a key that does not exist, or a value that does not fit; names the key.
    """
    base = OmegaConf.structured(Config)
    merged = _merge(base, _read(source), str(source))
    for override in overrides:
        merged = _merge(merged, _parse(override), override)
    try:
        config = cast(Config, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        raise InputError(error.full_key or str(source), _first_line(error), "a value of the right type") from error
    return config


def _read(source: str | Path) -> DictConfig:
    path = Path(source)
    if str(source) in presets():
        text = files("nas.presets").joinpath(f"{source}.yaml").read_text()
    elif path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError("--config", source, f"a YAML file ({error})") from error
    else:
        raise InputError("--config", source, f"a YAML file, or a preset: {one_of(str(source), presets())}")
    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise InputError("--config", source, f"valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise InputError("--config", source, "a YAML mapping of configuration keys")
    content.pop("version", None)
    return OmegaConf.create(content)


def _parse(override: str) -> DictConfig:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise InputError("override", override, "key=value, such as search.seconds=60")
    try:
        return OmegaConf.from_dotlist([override])
    except Exception as error:
        raise InputError(key, value, f"a YAML value ({_first_line(error)})") from error


def _merge(base: DictConfig, changes: DictConfig, source: str) -> DictConfig:
    try:
        return cast(DictConfig, OmegaConf.merge(base, changes))
    except ConfigKeyError as error:
        key = error.full_key or source
        raise InputError(key, _value(changes, key), f"a known key: {one_of(*_siblings(key))}") from error
    except (OmegaConfBaseException, TypeError) as error:
        key = getattr(error, "full_key", None) or source.partition("=")[0]
        raise InputError(key, _value(changes, key), _plain(error)) from error


def _siblings(key: str) -> tuple[str, list[str]]:
    """The last part of a dotted key, and the names that could stand there."""
    *parents, last = key.split(".")
    kind: Any = Config
    for parent in parents:
        kind = next((f.type for f in fields(kind) if f.name == parent), None)
        if not is_dataclass(kind):
            return last, []
    return last, [f.name for f in fields(kind)]


def _value(changes: DictConfig, key: str) -> Any:
    return OmegaConf.select(changes, key, throw_on_missing=False)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _plain(error: Exception) -> str:
    """What was expected, from OmegaConf's message."""
    line = _first_line(error)
    for sign, words in (
        ("Integer", "an integer"),
        ("Float", "a number"),
        ("Boolean", "true or false"),
        ("'None' for field", "a value (not empty)"),
        ("ListConfig", "a list, such as [a, b]"),
        ("is not a subclass", "a mapping of keys"),
        ("incompatible container", "a mapping of keys"),
        ("DictConfig", "a mapping of keys"),
    ):
        if sign in line:
            return words
    return f"a value that fits ({line})"
