"""Layouts: which token mixer sits in each layer of a model.

A layout is written as named blocks and a list of block names, leftmost is layer 0:

    blocks:
      local: {mixer: sliding_window, window: 64}
    layers: [gla, gla, attention, local]

A name that is not under `blocks` is a mixer with its default options.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from search_space.errors import InputError, one_of
from search_space.mixers import MIXERS


@dataclass(frozen=True)
class Block:
    """A mixer with its options: what a layer may be.

    Args:
        mixer: name in the catalogue of mixers.
        options: the mixer's options; given as a mapping or pairs, kept as pairs sorted by name, so that equal
            blocks compare and hash equal. `dict(block.options)` is the mapping again.

    Raises:
        InputError: an option is neither a plain value nor a list of them.
    """

    mixer: str
    options: Mapping[str, Any] | tuple[tuple[str, Any], ...] = ()

    def __post_init__(self):
        pairs = dict(self.options).items()
        frozen = tuple(sorted((name, _frozen(value, f"{self.mixer}.{name}")) for name, value in pairs))
        object.__setattr__(self, "options", frozen)

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in dict(self.options).items())
        return f"{self.mixer}({options})" if options else self.mixer

    def updated(self, options: Mapping[str, Mapping[str, Any]]) -> "Block":
        """This block with `options[mixer]`, then `options[str(block)]`, over its own options."""
        own = dict(self.options)
        return Block(self.mixer, {**own, **options.get(self.mixer, {}), **options.get(str(self), {})})


@dataclass(frozen=True)
class Layout:
    """The blocks of a model, layer by layer. Equal blocks make equal layouts, whatever they were called.

    Args:
        layers: a block for each layer, at least one.

    Raises:
        InputError: there are no layers.
    """

    layers: tuple[Block, ...]

    def __post_init__(self):
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise InputError("layers", "[]", "at least one layer")

    def __str__(self) -> str:
        """The layers in short, as in `gla*2 attention gla*3` or `(gla*2 attention)*8`."""
        depth = len(self.layers)
        period = next(p for p in range(1, depth + 1) if self.layers[:p] * (depth // p) == self.layers)
        if period == 1:
            return f"{self.layers[0]}*{depth}" if depth > 1 else str(self.layers[0])
        runs = [(str(block), len(list(run))) for block, run in groupby(self.layers[:period])]
        text = " ".join(f"{name}*{count}" if count > 1 else name for name, count in runs)
        return f"({text})*{depth // period}" if period < depth else text

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that depend on the blocks alone: the same everywhere, and for ever."""
        content = [[block.mixer, _comparable(block.options)] for block in self.layers]
        return sha256(json.dumps(content).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """As plain data: `blocks`, named after their mixers (numbered where options differ), and `layers`."""
        names: dict[Block, str] = {}
        for block in dict.fromkeys(self.layers):
            stem = name = block.mixer.rpartition(":")[2]
            number = 1
            while name in names.values():
                number += 1
                name = f"{stem}_{number}"
            names[block] = name
        return {
            "blocks": {name: {"mixer": block.mixer, **dict(block.options)} for block, name in names.items()},
            "layers": [names[block] for block in self.layers],
        }

    def to_yaml(self) -> str:
        """As YAML text that `from_yaml` reads."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, default_flow_style=None, width=110)

    @staticmethod
    def from_dict(fields: Any) -> "Layout":
        """The reverse of `to_dict`, for data that a person may have written.

        Raises:
            InputError: the data is no layout; names the key.
        """
        if not isinstance(fields, Mapping):
            raise InputError("layout", fields, "a mapping with layers, and blocks where they have options")
        for key in fields:
            if key not in ("blocks", "layers"):
                raise InputError(str(key), fields[key], f"{one_of(key, ['blocks', 'layers'])} as a key")
        blocks = parse_blocks(fields.get("blocks"), "blocks")
        names = fields.get("layers")
        if not isinstance(names, list | tuple) or not names:
            raise InputError("layers", names, "a list of block names, one for each layer")
        return Layout(tuple(find_block(name, blocks, f"layers[{i}]") for i, name in enumerate(names)))

    @staticmethod
    def from_yaml(text: str) -> "Layout":
        """The reverse of `to_yaml`.

        Raises:
            InputError: the text is not YAML, or no layout.
        """
        try:
            return Layout.from_dict(yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise InputError("layout", " ".join(str(error).split()), "YAML") from error

    @staticmethod
    def load(path: str | Path) -> "Layout":
        """The layout in a YAML file.

        Raises:
            InputError: the file cannot be read, or holds no layout; names the file.
        """
        try:
            return Layout.from_yaml(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError("layout", path, f"a file that can be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise InputError("layout", path, "a file with text") from error
        except InputError as error:
            raise InputError(f"{path}: {error.key}", error.value, error.expected) from error


def parse_blocks(blocks: Any, key: str) -> dict[str, Block]:
    """Named blocks from plain data {name: {mixer: ..., option: value}}; None means none.

    Raises:
        InputError: wrong shape or unknown mixer; `key` stands before the name of the block.
    """
    if not isinstance(blocks or {}, Mapping):
        raise InputError(key, blocks, "a mapping from block names to {mixer: ..., option: value}")
    parsed = {}
    for name, fields in (blocks or {}).items():
        if not isinstance(fields, Mapping) or not isinstance(fields.get("mixer"), str):
            raise InputError(f"{key}.{name}", fields, "a mapping with a mixer, and options beside it")
        _check_mixer(fields["mixer"], f"{key}.{name}.mixer")
        parsed[str(name)] = Block(fields["mixer"], {str(k): v for k, v in fields.items() if k != "mixer"})
    return parsed


def find_block(name: Any, blocks: Mapping[str, Block], key: str) -> Block:
    """The block called `name`: one of `blocks`, or else the mixer of that name with its default options.

    Raises:
        InputError: there is neither; names `key`.
    """
    if isinstance(name, str) and name in blocks:
        return blocks[name]
    if not isinstance(name, str) or (":" not in name and name not in MIXERS.names()):
        raise InputError(key, name, one_of(name, [*blocks, *MIXERS.names()]))
    _check_mixer(name, key)
    return Block(name)


@cache
def _check_mixer(name: str, key: str) -> None:
    MIXERS.get(name, key=key)


def _frozen(value: Any, key: str) -> Any:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return tuple(_frozen(item, key) for item in value)
    raise InputError(key, value, "a number, a text, true, false, null or a list of them")


def _comparable(value: Any) -> Any:
    """A form whose JSON agrees where Python's == does: 1, 1.0 and True are equal."""
    if isinstance(value, tuple):
        return [_comparable(item) for item in value]
    return float(value) if isinstance(value, int | float) else value
