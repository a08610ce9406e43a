"""Presets, files and `key=value` overrides, merged over the dataclasses of the rooms."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from nas.config.settings import Config
from search_space.errors import InputError, one_of


def presets() -> list[str]:
    """Names of the presets."""
    return sorted(
        p.name.removesuffix(".yaml") for p in files("nas.config.presets").iterdir() if p.name.endswith(".yaml")
    )


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
        text = files("nas.config.presets").joinpath(f"{source}.yaml").read_text()
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
    content.pop("format", None)
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
        ("not a valid bool", "true or false"),
        ("'None' for field", "a value (not empty)"),
        ("ListConfig", "a list, such as [a, b]"),
        ("is not a subclass", "a mapping of keys"),
        ("incompatible container", "a mapping of keys"),
        ("DictConfig", "a mapping of keys"),
    ):
        if sign in line:
            return words
    return f"a value that fits ({line})"
