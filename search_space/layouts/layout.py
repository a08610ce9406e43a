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
from functools import cache, cached_property
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from search_space.channel_mixers import CHANNEL_MIXERS
from search_space.errors import InputError, one_of
from search_space.mixers import MIXERS
from search_space.parts.part import NONE, Part

MLP = Part("swiglu")
"""The channel mixer of a block that names none."""


@dataclass(frozen=True)
class Block:
    """What a layer may be: a token mixer, and a channel mixer behind it. Options are at the target's scale.

    Args:
        mixer: the token mixer; a name alone means its default options, "none" leaves it out.
        mlp: the channel mixer, likewise.

    Raises:
        InputError: both are left out.
    """

    mixer: Part
    mlp: Part = MLP

    def __post_init__(self):
        for name in ("mixer", "mlp"):
            part = getattr(self, name)
            object.__setattr__(self, name, Part(part) if isinstance(part, str) else part)
        if not self.mixer and not self.mlp:
            raise InputError("block", "none/none", "a mixer, a channel mixer, or both")

    @cached_property
    def _hash(self) -> int:
        return hash((self.mixer, self.mlp))

    def __hash__(self) -> int:
        return self._hash  # kept: a search looks layouts up a million times

    def __getstate__(self) -> dict[str, Any]:
        return {"mixer": self.mixer, "mlp": self.mlp}  # texts have another hash in another process

    def __str__(self) -> str:
        return str(self.mixer) if self.mlp == MLP else f"{self.mixer}/{self.mlp}"

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that are there."""
        return tuple(part for part in (self.mixer, self.mlp) if part)

    def plain(self) -> dict[str, Any]:
        """As plain data, the form that `parse_block` reads."""
        fields = {"mixer": self.mixer.kind, **self.mixer.plain()}
        if self.mlp != MLP:
            fields["mlp"] = {"kind": self.mlp.kind, **self.mlp.plain()} if self.mlp.options else self.mlp.kind
        return fields


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

    @cached_property
    def _hash(self) -> int:
        return hash(self.layers)

    def __hash__(self) -> int:
        return self._hash

    def __getstate__(self) -> dict[str, Any]:
        return {"layers": self.layers}

    def __str__(self) -> str:
        """The layers in short, as in `gla*2 attention gla*3` or `(gla*2 attention)*8`; `parse` reads it."""
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
        from search_space.layouts.notation import parse

        layers = parse(text)
        for place, block in enumerate(layers):
            _check_parts(block, f"layers[{place}]")
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


def parse_block(fields: Any, key: str) -> Block:
    """A block from plain data {mixer: ..., option: value, mlp: ...}.

    `mlp` is a name, or {kind: ..., option: value} whose kind may be left out.

    Raises:
        InputError: wrong shape, or an unknown part; `key` stands before the name of the option.
    """
    if not isinstance(fields, Mapping) or not isinstance(fields.get("mixer"), str):
        raise InputError(key, fields, "a mapping with a mixer, and options beside it")
    options = {str(k): v for k, v in fields.items() if k not in ("mixer", "mlp")}
    mlp = fields.get("mlp", MLP.kind)
    mlp = {"kind": mlp} if isinstance(mlp, str) else mlp
    if not isinstance(mlp, Mapping) or not isinstance(mlp.get("kind", ""), str):
        raise InputError(f"{key}.mlp", mlp, "the name of a channel mixer, or {kind: ..., option: value}")
    mlp_options = {str(k): v for k, v in mlp.items() if k != "kind"}
    if fields["mixer"] == NONE.kind and options:
        raise InputError(f"{key}.{next(iter(options))}", next(iter(options.values())), "no options where mixer is none")
    try:
        block = Block(Part(fields["mixer"], options), Part(mlp.get("kind", MLP.kind), mlp_options))
    except InputError as error:
        raise InputError(f"{key}.{error.key}", error.value, error.expected) from error
    _check_parts(block, key, f"{key}.mixer")
    return block


def parse_blocks(blocks: Any, key: str) -> dict[str, Block]:
    """Named blocks from plain data {name: {mixer: ..., option: value}}; None means none.

    Raises:
        InputError: as `parse_block`; `key` stands before the name of the block.
    """
    if not isinstance(blocks or {}, Mapping):
        raise InputError(key, blocks, "a mapping from block names to {mixer: ..., option: value}")
    return {str(name): parse_block(fields, f"{key}.{name}") for name, fields in (blocks or {}).items()}


def find_block(name: Any, blocks: Mapping[str, Block], key: str) -> Block:
    """The block called `name`: one of `blocks`, or else a block in short, such as `gla` or `gla/none`.

    Raises:
        InputError: there is neither; names `key`.
    """
    if isinstance(name, str) and name in blocks:
        return blocks[name]
    if not isinstance(name, str):
        raise InputError(key, name, one_of(name, [*blocks, *MIXERS.names()]))
    mixer, slash, mlp = name.partition("/")
    if mixer not in MIXERS.names() and mixer != NONE.kind and ":" not in mixer:
        raise InputError(key, name, one_of(name, [*blocks, *MIXERS.names()]))
    block = Block(Part(mixer), Part(mlp) if slash else MLP)
    _check_parts(block, key)
    return block


def _check_parts(block: Block, key: str, mixer_key: str | None = None) -> None:
    if block.mixer:
        _check_name(MIXERS, block.mixer.kind, mixer_key or key)
    if block.mlp:
        _check_name(CHANNEL_MIXERS, block.mlp.kind, f"{key}.mlp" if mixer_key else key)


@cache
def _check_name(catalogue: Any, name: str, key: str) -> None:
    catalogue.get(name, key=key)
