"""Named parts that a user can add to: mixers, tasks, samplers, exporters."""

import sys
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from search_space.errors import InputError, one_of


class Catalogue:
    """Finds a part by name.

    Three kinds of names are understood: a built-in one, one that an installed package announces under the
    entry-point group `nas.<kind>s`, and a dotted path `package.module:Name`. Parts are imported when asked for.

    Args:
        kind: what the parts are, in the singular ("mixer"); used in messages and in the entry-point group.
        built_in: name -> "package.module:Name".
    """

    def __init__(self, kind: str, built_in: dict[str, str]):
        self.kind = kind
        self._built_in = built_in

    def _paths(self) -> dict[str, str]:
        return {**_announced(f"nas.{self.kind}s", tuple(sys.path)), **self._built_in}

    def names(self) -> list[str]:
        """Names of all built-in and announced parts; built-in ones first, in the order of their list."""
        return [*self._built_in, *(n for n in self._paths() if n not in self._built_in)]

    def get(self, name: str, key: str | None = None) -> Any:
        """The part called `name`.

        Raises:
            InputError: no such part; `key` is the configuration key to name in the message.
        """
        paths = self._paths()
        path = paths.get(name, name if ":" in str(name) else None)
        if path is None:
            expected = f"{one_of(name, list(paths))}, or a dotted path package.module:Name"
            raise InputError(key or self.kind, name, expected)
        module, _, attribute = path.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise InputError(key or self.kind, name, f"an importable {self.kind} ({error})") from error


@cache
def _announced(group: str, path: tuple[str, ...]) -> dict[str, str]:
    """What the packages on `path` announce; they are asked once, as that takes a look into each of them."""
    return {entry.name: entry.value for entry in entry_points(group=group)}
