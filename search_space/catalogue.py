"""Named parts that a user can add to: mixers, tasks, samplers, exporters."""

import re
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from search_space.errors import InputError, one_of

DOTTED = re.compile(r"(?<!\w)(?!family:)[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
"""package.module:Name; `family:name` is none: it stands for all mixers of a family."""

Misfit = Callable[[Any], str | None]
"""What was expected of a part that is none; None of one that is."""


class Catalogue:
    """Finds a part by name.

    Three kinds of names are understood: a built-in one, one that an installed package announces under the
    entry-point group `nas.<kind>s`, and a dotted path `package.module:Name`. Parts are imported when asked for.

    Args:
        kind: what the parts are, in the singular ("mixer"); used in messages and in the entry-point group.
        built_in: name -> "package.module:Name".
        misfit: looks at what was found under a name: it may be anything.
    """

    def __init__(self, kind: str, built_in: dict[str, str], misfit: Misfit):
        self.kind = kind
        self._built_in, self._misfit = built_in, misfit

    def _paths(self) -> dict[str, str]:
        return {**_announced(f"nas.{self.kind}s", tuple(sys.path)), **self._built_in}

    def names(self) -> list[str]:
        """Names of all built-in and announced parts; built-in ones first, in the order of their list."""
        return [*self._built_in, *(n for n in self._paths() if n not in self._built_in)]

    def get(self, name: str, key: str | None = None) -> Any:
        """The part called `name`.

        Raises:
            InputError: no such part, or it is of another kind; `key` is the configuration key to name in the message.
        """
        known = isinstance(name, str) and name in self._built_in
        paths = self._built_in if known else self._paths()
        path = paths.get(name, name) if isinstance(name, str) else ""
        if not DOTTED.fullmatch(path):
            expected = f"{one_of(name, list(paths))}, or a dotted path package.module:Name"
            raise InputError(key or self.kind, name, expected)
        module, _, attribute = path.partition(":")
        try:
            found = getattr(import_module(module), attribute)
        except (Exception, SystemExit) as error:  # a module may do anything when it is imported
            raise InputError(key or self.kind, name, f"an importable {self.kind} ({_why(error)})") from error
        misfit = self._misfit(found)
        if misfit is not None:
            raise InputError(key or self.kind, name, misfit)
        return found


def _why(error: BaseException) -> str:
    """Why a module is not imported; one in the working directory alone is no mistake that shows at once."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    if name and (Path(name).is_dir() or Path(f"{name}.py").is_file()):
        return f"{error}: the current folder is not searched; install the package, or set PYTHONPATH=."
    return str(error)


def subclass_of(base: str) -> Misfit:
    """Looks whether a part is a subclass of the class at the dotted path `base`."""

    def misfit(found: Any) -> str | None:
        fits = isinstance(found, type) and issubclass(found, _at(base))
        return None if fits else f"a subclass of {base.replace(':', '.')}"

    return misfit


def instance_of(base: str) -> Misfit:
    """Looks whether a part is an instance of the class at the dotted path `base`."""
    return lambda found: None if isinstance(found, _at(base)) else f"an instance of {base.replace(':', '.')}"


@cache
def _at(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


@cache
def _announced(group: str, path: tuple[str, ...]) -> dict[str, str]:
    """What the packages on `path` announce; they are asked once, as that takes a look into each of them."""
    return {entry.name: entry.value for entry in entry_points(group=group)}
