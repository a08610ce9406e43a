"""A part of a layer, as data: a mixer or a channel mixer by name, with its options."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search_space.errors import InputError

BRANCHES = "branches"
"""The option that holds parts: those that stand side by side in one layer."""


@dataclass(frozen=True)
class Part:
    """A mixer or a channel mixer with its options, which are at the target's scale.

    Args:
        kind: its name in the catalogue, or a dotted path; "none" leaves the part out.
        options: given as a mapping or as pairs, kept as pairs sorted by name, so that equal parts compare and hash
            equal. `dict(part.options)` is the mapping again.

    Raises:
        InputError: an option is neither a plain value nor a list of them.
    """

    kind: str
    options: Mapping[str, Any] | tuple[tuple[str, Any], ...] = ()

    def __post_init__(self):
        pairs = dict(self.options).items()
        frozen = tuple(sorted((name, _frozen(name, value, f"{self.kind}.{name}")) for name, value in pairs))
        object.__setattr__(self, "options", frozen)

    def __bool__(self) -> bool:
        """Whether there is anything: False for "none"."""
        return self.kind != "none"

    def __str__(self) -> str:
        options = ", ".join(f"{name}={_shown(value)}" for name, value in dict(self.options).items())
        return f"{self.kind}({options})" if options else self.kind

    def over(self, options: Mapping[str, Any]) -> "Part":
        """This part with its own options over `options`."""
        return Part(self.kind, {**options, **dict(self.options)})

    def plain(self) -> dict[str, Any]:
        """Its options as plain data, for YAML and JSON."""
        return {name: _plain(value) for name, value in dict(self.options).items()}

    def comparable(self) -> list[Any]:
        """A form whose JSON agrees where == does: 1, 1.0 and True are equal."""
        return [self.kind, [[name, _comparable(value)] for name, value in dict(self.options).items()]]


NONE = Part("none")


def _frozen(name: str, value: Any, key: str) -> Any:
    if name == BRANCHES and isinstance(value, list | tuple):
        return tuple(_branch(item, f"{key}[{i}]") for i, item in enumerate(value))
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return tuple(_frozen("", item, key) for item in value)
    raise InputError(key, value, "a number, a text, true, false, null or a list of them")


def _branch(item: Any, key: str) -> Part:
    if isinstance(item, Part):
        return item
    if isinstance(item, str):
        return Part(item)
    if isinstance(item, Mapping) and isinstance(item.get("mixer"), str):
        return Part(item["mixer"], {str(k): v for k, v in item.items() if k != "mixer"})
    raise InputError(key, item, "the name of a mixer, or {mixer: ..., option: value}")


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_shown, value))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Part):
        return {"mixer": value.kind, **value.plain()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _comparable(value: Any) -> Any:
    if isinstance(value, Part):
        return value.comparable()
    if isinstance(value, tuple):
        return [_comparable(item) for item in value]
    return float(value) if isinstance(value, int | float) else value
