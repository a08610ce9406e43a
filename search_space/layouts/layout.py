"""Layouts: what sits in each layer of a model.

A layout is written as named blocks and a list of block names, leftmost is layer 0:

    blocks:
      local: {mixer: sliding_window, window: 2048, mlp: {ratio: 2}}
      mlp: {mixer: none, mlp: swiglu}
    layers: [gla, gla/none, mlp, attention, local]

A name that is not under `blocks` is a block in short: a mixer with its default options, and behind a slash the channel
mixer, where it is not the default one. `layouts/notation.py` reads whole layouts in short, as in
`(gla*2 attention)*8`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from search_space import limits
from search_space.checks import instance
from search_space.errors import InputError, one_of
from search_space.files import read_text
from search_space.layouts.block import Block, check_parts, find_block, parse_blocks
from search_space.layouts.notation import parse, short
from search_space.plain import check_plain, parse_yaml


@dataclass(frozen=True)
class Layout:
    """The blocks of a model, layer by layer. Equal blocks make equal layouts, whatever they were called.

    Args:
        layers: a block for each layer, at least one.

    Raises:
        InputError: there are no layers, or too many.
    """

    layers: tuple[Block, ...]

    def __post_init__(self):
        blocks = "blocks, as Layout.parse makes them"
        object.__setattr__(self, "layers", tuple(instance("layers", self.layers, (tuple, list), blocks)))
        for block in self.layers:
            instance("layers", block, Block, blocks)
        if not self.layers:
            raise InputError("layers", "[]", "at least one layer")
        _check_depth(len(self.layers))

    @cached_property
    def _hash(self) -> int:
        return hash(self.layers)

    def __hash__(self) -> int:
        return self._hash

    def __getstate__(self) -> dict[str, Any]:
        return {"layers": self.layers}

    def __str__(self) -> str:
        """The layers in short, as in `gla*2 attention gla*3` or `(gla*2 attention)*8`; `parse` reads it."""
        return short([str(block) for block in self.layers])

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that depend on the blocks alone: the same everywhere, and for ever."""
        content = [[block.mixer.comparable(), block.mlp.comparable()] for block in self.layers]
        return sha256(json.dumps(content).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """As plain data: `blocks`, named after their mixers (numbered where options differ), and `layers`."""
        names: dict[Block, str] = {}
        for block in dict.fromkeys(self.layers):
            stem = name = (block.mixer or block.mlp).kind.rpartition(":")[2]
            number = 1
            while name in names.values():
                number += 1
                name = f"{stem}_{number}"
            names[block] = name
        return {
            "blocks": {name: block.plain() for block, name in names.items()},
            "layers": [names[block] for block in self.layers],
        }

    def to_yaml(self) -> str:
        """As YAML text that `from_yaml` reads."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, default_flow_style=None, width=110)

    @staticmethod
    def parse(text: str) -> "Layout":
        """The layout in short notation, as in `(gla*2 attention)*8` or `mamba2/none none/swiglu(ratio=2)`.

        Raises:
            InputError: the text is no layout; says where it goes wrong.
        """
        layers = parse(text)
        for place, block in enumerate(layers):
            check_parts(block, f"layers[{place}]")
        return Layout(layers)

    @staticmethod
    def from_dict(fields: Any) -> "Layout":
        """The reverse of `to_dict`, for data that a person may have written.

        The key `model`, which exported files have, is left to whoever wants to know the sizes.

        Raises:
            InputError: the data is no layout; names the key.
        """
        if not isinstance(fields, Mapping):
            raise InputError("layout", fields, "a mapping with layers, and blocks where they have options")
        for key in fields:
            if key not in ("blocks", "layers", "model"):
                raise InputError(str(key), fields[key], f"{one_of(key, ['blocks', 'layers', 'model'])} as a key")
        blocks = parse_blocks(fields.get("blocks"), "blocks")
        names = fields.get("layers")
        if not isinstance(names, list | tuple) or not names:
            raise InputError("layers", names, "a list of block names, one for each layer")
        _check_depth(len(names))
        return Layout(tuple(find_block(name, blocks, f"layers[{i}]") for i, name in enumerate(names)))

    @staticmethod
    def from_yaml(text: str) -> "Layout":
        """The reverse of `to_yaml`.

        Raises:
            InputError: the text is not YAML, or no layout.
        """
        fields = parse_yaml(text, "layout")
        check_plain(fields, "")
        return Layout.from_dict(fields)

    @staticmethod
    def load(path: str | Path) -> "Layout":
        """The layout in a YAML file.

        Raises:
            InputError: the file cannot be read, or holds no layout; names the file.
        """
        text = read_text(path, "layout")
        try:
            return Layout.from_yaml(text)
        except InputError as error:
            raise InputError(f"{path}: {error.key}", error.value, error.expected) from error


def _check_depth(layers: int) -> None:
    if layers > limits.LAYERS:
        raise InputError("layers", f"{layers} layers", f"at most {limits.LAYERS}")
