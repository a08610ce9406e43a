"""Plain data from outside: mappings whose keys are words or integers, lists, texts, numbers, true, false and null.

Every YAML file and value is read here, and becomes nothing else and no more than `limits` allows.
"""

import re
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from search_space import limits
from search_space.errors import InputError, line
from search_space.files import read_text, reason

Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
TAG = "tag:yaml.org,2002:"
KINDS = ("null", "bool", "int", "float", "str", "seq", "map")
EXPONENT = re.compile(r"^[-+]?\d[\d_]*(\.[\d_]*)?[eE][-+]?\d+$")
"""Floats such as 1e3 and 1.5e3, which YAML 1.1 takes for words."""


def read_yaml(path: str | Path, key: str) -> Any:
    """The plain data in a YAML file.

    Raises:
        InputError: as `read_text` and `parse_yaml`; names `key` and the file.
    """
    text = read_text(path, key)
    try:
        return parse_yaml(text, key)
    except InputError as error:
        raise InputError(error.key, path, error.expected) from error


def parse_yaml(text: str, key: str) -> Any:
    """The plain data in a YAML text.

    Raises:
        InputError: it is no YAML, or holds something else than plain data, or too much; names `key`.
    """
    try:
        if len(text) > limits.YAML_BYTES:
            raise yaml.YAMLError(f"it has more than {limits.YAML_BYTES} characters")
        _measure(text)
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        why = reason(error).replace('in "<unicode string>", ', "at ")
        raise InputError(key, text, f"YAML of plain values ({why})") from error


def check_plain(value: Any, key: str, on_text: Callable[[str, str], None] = lambda key, text: None) -> None:
    """Checks plain data, whatever it was read from.

    Args:
        value: of the key.
        key: dotted; keys of what is inside begin with it.
        on_text: (key, text) is told every text, and may refuse it.

    Raises:
        InputError: a number that is not finite or too large, a text that no file can hold; names its key.
    """
    if isinstance(value, dict):
        for name, inside in value.items():
            path = ".".join(filter(None, (key, str(name))))
            check_plain(name, path, on_text)
            check_plain(inside, path, on_text)
    elif isinstance(value, list | tuple):
        for inside in value:
            check_plain(inside, key, on_text)
    elif isinstance(value, str):
        if len(value) > limits.TEXT:
            raise InputError(key, value, f"at most {limits.TEXT} characters")
        if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
            raise InputError(key, value, "characters that a file can hold")
        on_text(key, value)
    elif isinstance(value, float) and not isfinite(value):
        raise InputError(key, value, "a finite number")
    elif isinstance(value, int) and abs(value) > limits.INTEGER:
        raise InputError(key, value, f"an integer of at most {limits.INTEGER}")
    elif value is not None and not isinstance(value, bool | int | float):
        raise InputError(key, value, "a number, a text, true, false, null, or a mapping or list of them")


def _measure(text: str) -> None:
    """Raises YAMLError for a text that would become too much, before anything is made of it."""
    sizes: dict[str, int] = {}  # values under an anchor that is complete
    begun: list[tuple[str | None, int]] = []  # anchors of what is not, and the total before each
    total = 0
    for event in yaml.parse(text, Loader=Base):
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = begun.pop()
            if anchor:
                sizes[anchor] = total - before
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise yaml.YAMLError(f"*{event.anchor} stands for nothing that is complete")
            total += sizes[event.anchor]
        elif isinstance(event, yaml.NodeEvent):
            total += 1
            if event.anchor:
                sizes.pop(event.anchor, None)
            if isinstance(event, yaml.CollectionStartEvent):
                begun.append((event.anchor, total - 1))
            elif event.anchor:
                sizes[event.anchor] = 1
        if total > limits.YAML_NODES:
            raise yaml.YAMLError(f"it has more than {limits.YAML_NODES} values")
        if len(begun) > limits.YAML_DEPTH:
            raise yaml.YAMLError(f"it has more than {limits.YAML_DEPTH} lists and mappings inside one another")


class _Loader(Base):
    """Makes plain data; what looks like a date stays a text."""

    yaml_constructors = {
        tag: make
        for tag, make in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.removeprefix(TAG) in KINDS
    }
    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in found if tag != f"{TAG}timestamp"]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        """Refuses keys that are neither words nor integers, and keys that come twice."""
        names = [key.value for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        found = super().construct_mapping(node, deep)
        if len(set(map(str, names))) < len(names):
            raise yaml.constructor.ConstructorError(problem="a key comes twice", problem_mark=node.start_mark)
        wrong = [name for name in found if isinstance(name, bool) or not isinstance(name, str | int)]
        if wrong:
            raise yaml.YAMLError(f"the key {line(wrong[0])} is neither a word nor an integer")
        return found

    def construct_scalar(self, node: Any) -> Any:
        """Refuses numbers whose conversion would take long."""
        if node.tag in (f"{TAG}int", f"{TAG}float") and len(node.value) > limits.DIGITS:
            raise yaml.YAMLError(f"a number has more than {limits.DIGITS} digits")
        return super().construct_scalar(node)


_Loader.add_implicit_resolver(f"{TAG}float", EXPONENT, list("-+0123456789"))
