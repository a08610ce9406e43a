"""Blocks: what a layer may be, from plain data or by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from search_space.channel_mixers import CHANNEL_MIXERS
from search_space.checks import instance
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
            part = Part(part) if isinstance(part, str) else part
            object.__setattr__(self, name, instance(name, part, Part, "a part, or its name"))
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
    check_parts(block, key, f"{key}.mixer")
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
    check_parts(block, key)
    return block


def check_parts(block: Block, key: str, mixer_key: str | None = None) -> None:
    """Raises InputError, naming `key` (for the mixer `mixer_key`), if a part of the block is not in its catalogue."""
    if block.mixer:
        _check_name(MIXERS, block.mixer.kind, mixer_key or key)
    if block.mlp:
        _check_name(CHANNEL_MIXERS, block.mlp.kind, f"{key}.mlp" if mixer_key else key)


@cache
def _check_name(catalogue: Any, name: str, key: str) -> None:
    catalogue.get(name, key=key)
