"""Presets, files and `key=value` overrides, merged over the dataclasses of the rooms."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from nas.config.settings import FORMAT, Config
from search_space import limits
from search_space.catalogue import DOTTED
from search_space.checks import instance, texts
from search_space.errors import InputError, one_of
from search_space.plain import check_plain, parse_yaml, read_yaml

NO_NAMES = ("name", "target.profile", "workers.address", "tracking.uri", "tracking.experiment")
"""Texts that are no names of parts; nor are the paths of texts."""
WORDS = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "a text",
    list: "a list, such as [a, b]",
    dict: "a mapping of keys",
}
"""What types are called in messages."""


def presets() -> list[str]:
    """Names of the presets."""
    return sorted(
        p.name.removesuffix(".yaml") for p in files("nas.config.presets").iterdir() if p.name.endswith(".yaml")
    )


def load(source: str | Path = "laptop", overrides: Sequence[str] = ()) -> Config:
    """The configuration of a preset or file, with overrides.

    Args:
        source: name of a preset, or path of a YAML file. In both, and in overrides, `${oc.env:NAME}` stands for an
            environment variable, `${training.length}` for another value.
        overrides: `key=value`, where key is a dotted path and value is YAML.

    Raises:
        InputError: no such file, a key that does not exist, or a value that does not fit; names the key.
    """
    content = _read(instance("--config", source, (str, os.PathLike), "a preset, or the path of a YAML file"))
    return _build(content, overrides, str(source))


def load_written(path: Path, overrides: Sequence[str] = (), trust: bool = False) -> Config:
    """The configuration in the folder of a search, with overrides: it may be somebody else's.

    Nothing in it stands for something else, since a search writes what it found.

    Args:
        path: its config.yaml.
        overrides: as in `load`.
        trust: whether to import the dotted paths that it names.

    Raises:
        InputError: as `load`; or it names dotted paths and is not trusted.
    """
    content = read_yaml(path, "DIR")
    try:
        content = _mapping(content, "DIR", path)
        check_plain(content, "", _no_reference)
        if not trust:
            refuse_imports(content)
        return _build(content, overrides, str(path))
    except InputError as error:
        own = any(str(override).partition("=")[0] == error.key for override in overrides)
        raise InputError(error.key if own else f"{path}: {error.key}", error.value, error.expected) from error


def load_plain(content: Any, overrides: Sequence[str], look: Callable[[Any], None]) -> Config:
    """The configuration in plain data that somebody sent, with overrides.

    Nothing in either stands for something else.

    Args:
        content: a mapping of keys, or the name of a preset.
        overrides: as in `load`.
        look: is given the mappings that both are, before any of it is used, and may refuse one.

    Raises:
        InputError: as `load`.
    """
    preset = isinstance(content, str) and content in presets()
    if not preset and not isinstance(content, dict):
        raise InputError("preset", content, one_of(str(content), presets()))
    base = _read(content) if preset else _mapping(content, "config", "this")

    check_plain(base, "", _no_reference)
    for part in (base, *parse_overrides(overrides)):
        look(part)
    return _build(base, overrides, "config")


def parse_overrides(overrides: Sequence[str]) -> list[dict[str, Any]]:
    """The mapping of keys that each override stands for; nothing in it stands for something else.

    Raises:
        InputError: one is no `key=value`, or the value is no YAML.
    """
    parts = [_parse(override)[1] for override in overrides]
    for part in parts:
        check_plain(part, "", _no_reference)
    return parts


def as_overrides(overrides: Any) -> list[str]:
    """Overrides as a list of texts.

    Raises:
        InputError: they are none.
    """
    return texts("overrides", overrides, 'a list of texts, such as ["search.seconds=60"]')


def refuse_imports(content: Any, key: str = "") -> None:
    """Refuses plain data from a folder that would have code imported.

    Args:
        content: a configuration, or the layout of a record.
        key: of the content; not looked at are the keys of `NO_NAMES`.

    Raises:
        InputError: a dotted path; says how to allow it.
    """

    def look(key: str, text: str) -> None:
        if DOTTED.search(text) and key not in NO_NAMES and not key.endswith(".paths"):
            expected = "a name of the catalogue: code that a folder names is imported with --trust alone"
            raise InputError(key, text, expected)

    check_plain(content, key, look)


def _build(content: dict[str, Any], overrides: Sequence[str], source: str) -> Config:
    merged = _merge(OmegaConf.structured(Config), content, source)
    for override in as_overrides(overrides):
        key, changes = _parse(override)
        merged = _merge(merged, changes, key)
    try:
        check_plain(OmegaConf.to_container(merged, resolve=True), "", _no_reference)
        return cast(Config, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        key = error.full_key or source
        value = _value(OmegaConf.to_container(merged), key)
        raise InputError(key, value, f"{_expected(key)} ({_first_line(error)})") from error
    except RecursionError as error:
        raise InputError(source, "${...}", "references that come to an end") from error


def _read(source: str | Path) -> dict[str, Any]:
    if str(source) in presets():
        text = files("nas.config.presets").joinpath(f"{source}.yaml").read_text()
        return _mapping(parse_yaml(text, "--config"), "--config", source)
    if not os.path.lexists(source):
        raise InputError("--config", source, f"a YAML file, or a preset: {one_of(str(source), presets())}")
    content = read_yaml(source, "--config")
    found = content.get("format", FORMAT) if isinstance(content, dict) else FORMAT
    if found != FORMAT:
        raise InputError("format", found, f"{FORMAT}, the record format that this program writes, in {source}")
    return _mapping(content, "--config", source)


def _mapping(content: Any, key: str, source: str | Path) -> dict[str, Any]:
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise InputError(key, source, "a YAML mapping of configuration keys")
    return {name: value for name, value in content.items() if name != "format"}


def _parse(override: str) -> tuple[str, dict[str, Any]]:
    """The key of an override, and the mapping that it stands for."""
    key, equals, value = override.partition("=")
    names = key.split(".")
    if not equals or not all(names) or names == ["format"]:
        raise InputError("override", override, "key=value, such as search.seconds=60")
    if len(names) > limits.YAML_DEPTH:
        raise InputError(key, value, f"a key of at most {limits.YAML_DEPTH} names")
    try:
        content = parse_yaml(value, key)
    except InputError as error:
        raise InputError(key, value, error.expected) from error
    for name in reversed(names):
        content = {name: content}
    return key, content


def _merge(base: DictConfig, content: dict[str, Any], source: str) -> DictConfig:
    check_plain(content, "", _short_reference)
    _check_switches(content)
    try:
        return cast(DictConfig, OmegaConf.merge(base, OmegaConf.create(content)))
    except (OmegaConfBaseException, AttributeError, TypeError, ValueError) as error:
        key = getattr(error, "full_key", None) or source
        expected = _unknown(key) if isinstance(error, ConfigKeyError) else _expected(key)
        raise InputError(key, _value(content, key), expected) from error


def _check_switches(content: Any, key: str = "") -> None:
    """Refuses numbers under keys that are true or false: they would be taken for true."""
    if isinstance(content, dict) and not (key and _kind(key)[1]):
        for name, inside in content.items():
            _check_switches(inside, f"{key}.{name}" if key else str(name))
    elif isinstance(content, int | float) and not isinstance(content, bool) and _kind(key) == (bool, ""):
        raise InputError(key, content, WORDS[bool])


def _short_reference(key: str, text: str) -> None:
    if text == MISSING:
        raise InputError(key, text, "a value")
    if "${" in text and len(text) > limits.REFERENCE:
        raise InputError(key, text, f"a reference of at most {limits.REFERENCE} characters")


def _no_reference(key: str, text: str) -> None:
    if text == MISSING or "${" in text:
        raise InputError(key, text, "a value")


def _kind(key: str) -> tuple[Any, str]:
    """The type that a dotted key has in the configuration, or else the deepest one on the way; and what is left."""
    kind: Any = Config
    names = re.sub(r"\[\d+\]", "", key).split(".")
    for place, name in enumerate(names):
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif is_dataclass(kind) and name in get_type_hints(kind):
            kind = get_type_hints(kind)[name]
        else:
            return kind, ".".join(names[place:])
    return kind, ""


def _expected(key: str) -> str:
    """What may stand under a key."""
    kind, rest = _kind(key)
    options = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    word = "a mapping of keys" if is_dataclass(kind) else WORDS.get(get_origin(options[0]) or options[0], "a value")
    return ("a value" if rest else word) + (" or null" if NoneType in options else "")


def _unknown(key: str) -> str:
    kind, rest = _kind(key)
    names = [f.name for f in fields(kind) if f.name != "format"] if is_dataclass(kind) else []
    name = rest.split(".")[0]
    if elsewhere := [key for key in _keys(Config) if key.split(".")[-1] == name]:
        return f"a known key (did you mean {' or '.join(elsewhere)}?)"
    return f"a known key: {one_of(name, names)}"


def _keys(kind: Any, prefix: str = "") -> Iterator[str]:
    """All dotted keys under a config class that hold values."""
    for name, inside in get_type_hints(kind).items():
        if is_dataclass(inside):
            yield from _keys(inside, f"{prefix}{name}.")
        elif name != "format":
            yield prefix + name


def _value(content: Any, key: str) -> Any:
    """What plain data holds under a dotted key; None where it holds nothing."""
    for name in re.findall(r"[^.\[\]]+", key):
        if isinstance(content, list) and name.isdecimal():
            content = content[int(name)] if int(name) < len(content) else None
        else:
            content = content.get(name) if isinstance(content, dict) else None
    return content


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
