"""What each layer may be: the configuration of a search space, and the free decisions that follow from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search_space.checks import positive
from search_space.errors import InputError, one_of
from search_space.layouts.layout import Block, find_block
from search_space.mixers import MIXERS
from search_space.space.constraints import Constraints

TIES = ["layer", "block", "pattern"]


@dataclass(frozen=True, kw_only=True)
class SpaceConfig:
    """A search space as it is configured; `search_space.space.space.Space` checks it and works with it.

    Args:
        layers: depth of the layouts that are searched.
        choices: blocks that a layer may take: names under `blocks`, or mixers, with their default options.
        blocks: name -> {mixer: ..., option: value, ...}.
        per_layer: layer (0 is the first) -> choices that it has instead.
        tie: "layer": every layer decides alone; "block": `tie_size` layers in a row are alike;
            "pattern": the first `tie_size` layers decide, and the rest repeats them.
        tie_size: layers that are tied, or length of the pattern; 1 where `tie` is "layer".
        constraints: what layouts have to keep to.
    """

    layers: int = 6
    choices: list[str] = field(default_factory=MIXERS.names)
    blocks: dict[str, Any] = field(default_factory=dict)
    per_layer: dict[Any, list[str]] = field(default_factory=dict)
    tie: str = "layer"
    tie_size: int = 1
    constraints: Constraints = field(default_factory=Constraints)


@dataclass(frozen=True)
class Slot:
    """A free decision: its name, the layers that it decides, and the names of the blocks to choose from."""

    name: str
    layers: tuple[int, ...]
    choices: tuple[str, ...]


def allowed_blocks(config: SpaceConfig, named: Mapping[str, Block]) -> list[dict[str, Block]]:
    """For each layer, the blocks that it may take, by name; constraints are not looked at.

    Args:
        config: the space.
        named: its `blocks`.

    Raises:
        InputError: unknown or repeated blocks, no choice at all, or a layer that is not there.
    """

    def found(names: Any, key: str) -> dict[str, Block]:
        if not isinstance(names, list | tuple) or not names:
            raise InputError(key, names, "a list of block names, at least one")
        return {name: find_block(name, named, key) for name in names}

    allowed = [found(config.choices, "space.choices")] * positive("space.layers", config.layers)
    for layer, names in config.per_layer.items():
        key = f"space.per_layer.{layer}"
        if not str(layer).isdecimal() or int(layer) >= config.layers:
            raise InputError(key, names, f"a layer from 0 to {config.layers - 1} as the last part of the key")
        allowed[int(layer)] = found(names, key)
    names_of: dict[Block, str] = {}
    for name, block in (item for blocks in allowed for item in blocks.items()):
        if names_of.setdefault(block, name) != name:
            raise InputError("space.choices", name, f"blocks that differ: {names_of[block]} is the same")
    return allowed


def make_slots(config: SpaceConfig, allowed: list[dict[str, Block]]) -> tuple[Slot, ...]:
    """The free decisions: tied layers are one, and choose among the blocks that all of them may take.

    Raises:
        InputError: ties that do not fit the layers, or tied layers without a common choice.
    """
    size = positive("space.tie_size", config.tie_size)
    if config.tie not in TIES:
        raise InputError("space.tie", config.tie, one_of(config.tie, TIES))
    if size > config.layers or (config.tie == "layer" and size > 1):
        limit = "1 where space.tie is layer" if config.tie == "layer" else f"at most space.layers={config.layers}"
        raise InputError("space.tie_size", size, limit)
    layers = range(config.layers)
    if config.tie == "pattern":
        groups = [layers[start::size] for start in range(size)]
    else:
        groups = [layers[start : start + size] for start in layers[::size]]
    slots = []
    for group in groups:
        choices = tuple(name for name in allowed[group[0]] if all(name in allowed[layer] for layer in group))
        if not choices:
            tied = ", ".join(map(str, group))
            raise InputError("space.per_layer", config.per_layer, f"a choice that the tied layers {tied} share")
        slots.append(Slot(f"layer_{group[0]}", tuple(group), choices))
    return tuple(slots)
