"""What each layer may be: the configuration of a search space, and the free decisions that follow from it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

from search_space import limits
from search_space.checks import positive
from search_space.errors import InputError, one_of
from search_space.layouts.block import Block, find_block, parse_block
from search_space.parts.families import expanded
from search_space.space.constraints import Constraints

TIES = ["layer", "block", "pattern"]
CHOOSE = "choose"
BLOCK = "block"
"""The field of a decision that is about the block as a whole."""
MOST_BLOCKS = 1000
"""Blocks that the choices of one named block may lead to."""


@dataclass(frozen=True, kw_only=True)
class SpaceConfig:
    """A search space as it is configured; `search_space.space.space.Space` checks it and works with it.

    Args:
        layers: depth of the layouts that are searched.
        choices: blocks that a layer may take: names under `blocks`, or mixers, with their default options; family:delta
            stands for all mixers of that family (`nas mixers` has the families).
        blocks: name -> {mixer: ..., option: value, mlp: {kind: ..., option: value}}, at the target's scale. In place of
            a value, {choose: [value, ...]} leaves it to the search.
        per_layer: layer (0 is the first) -> choices that it has instead.
        tie: "layer": every layer decides alone; "block": `tie_size` layers in a row are alike;
            "pattern": the first `tie_size` layers decide, and the rest repeats them.
        tie_size: layers that are tied, or length of the pattern; 1 where `tie` is "layer".
        constraints: what layouts have to keep to.
    """

    layers: int = 6
    choices: list[str] = field(
        default_factory=lambda: [
            "attention",
            "gated_attention",
            "sliding_window",
            "retnet",
            "gla",
            "hgrn",
            "hgrn2",
            "deltanet",
            "gated_deltanet",
        ]
    )
    blocks: dict[str, Any] = field(default_factory=dict)
    per_layer: dict[Any, list[str]] = field(default_factory=dict)
    tie: str = "layer"
    tie_size: int = 1
    constraints: Constraints = field(default_factory=Constraints)


@dataclass(frozen=True)
class Choice:
    """One entry of a list of choices: a block, or several that differ in the values of some fields.

    Args:
        name: in the configuration.
        fields: name of a field, as in "window" or "mlp.ratio" -> the values to choose from.
        blocks: the values of all fields, in their order -> the block.
    """

    name: str
    fields: Mapping[str, tuple[Any, ...]]
    blocks: Mapping[tuple[Any, ...], Block]


@dataclass(frozen=True)
class Decision:
    """A free decision of a search.

    Args:
        name: unlike any other's, as in "layer_0" or "layer_0.local.window".
        layers: that it is about.
        field: "block" for the block as a whole, else a field of one of the choices, as in "local.window". Such a field
            counts only where that choice was made.
        choices: names of the blocks, or values; numbers ascend.
        ordered: whether they are numbers.
    """

    name: str
    layers: tuple[int, ...]
    field: str
    choices: tuple[Any, ...]
    ordered: bool = False


@dataclass(frozen=True)
class Group:
    """Layers that are alike, and what they may be: name of the choice -> choice."""

    layers: tuple[int, ...]
    choices: Mapping[str, Choice]

    @property
    def name(self) -> str:
        """Named after its first layer."""
        return f"layer_{self.layers[0]}"

    @property
    def blocks(self) -> list[Block]:
        """All blocks that the layers may be."""
        return [block for choice in self.choices.values() for block in choice.blocks.values()]

    def decisions(self) -> Iterator[Decision]:
        """Which choice, then the fields of each."""
        yield Decision(self.name, self.layers, BLOCK, tuple(self.choices))
        for choice in self.choices.values():
            for name, values in choice.fields.items():
                path = f"{choice.name}.{name}"
                yield Decision(f"{self.name}.{path}", self.layers, path, values, all(map(_is_number, values)))


def parse_choices(blocks: Any) -> dict[str, Choice]:
    """Named choices from plain data {name: {mixer: ..., option: value or {choose: [...]}}}; None means none.

    Raises:
        InputError: wrong shape, or a block that cannot be; the key begins with "space.blocks".
    """
    key = "space.blocks"
    if not isinstance(blocks or {}, Mapping):
        raise InputError(key, blocks, "a mapping from block names to {mixer: ..., option: value}")
    return {str(name): _parse_choice(str(name), fields, f"{key}.{name}") for name, fields in (blocks or {}).items()}


def _parse_choice(name: str, fields: Any, key: str) -> Choice:
    if not isinstance(fields, Mapping):
        raise InputError(key, fields, "a mapping with a mixer, and options beside it")
    found = dict(_fields_to_choose(fields, key, ""))
    if prod(map(len, found.values())) > MOST_BLOCKS:
        raise InputError(key, f"{prod(map(len, found.values()))} blocks", f"at most {MOST_BLOCKS}: fewer values")
    blocks = {}
    for values in product(*found.values()):
        chosen = dict(zip(found, values, strict=True))
        blocks[values] = parse_block(_filled(fields, chosen, ""), key)
    return Choice(name, found, blocks)


def _fields_to_choose(fields: Mapping, key: str, prefix: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    for name, value in fields.items():
        if not isinstance(value, Mapping):
            continue
        if CHOOSE not in value:
            yield from _fields_to_choose(value, f"{key}.{name}", f"{prefix}{name}.")
            continue
        values = value[CHOOSE]
        plain = isinstance(values, list | tuple) and all(isinstance(v, str | int | float) for v in values)
        if not plain or not values or len(set(values)) < len(values) or len(value) > 1:
            raise InputError(f"{key}.{name}", dict(value), "{choose: [value, ...]} with different plain values")
        yield f"{prefix}{name}", tuple(sorted(values) if all(map(_is_number, values)) else values)


def _filled(fields: Mapping, chosen: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The fields with the chosen values in place of {choose: ...}."""
    return {
        name: chosen[f"{prefix}{name}"]
        if f"{prefix}{name}" in chosen
        else _filled(value, chosen, f"{prefix}{name}.")
        if isinstance(value, Mapping)
        else value
        for name, value in fields.items()
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def find_choice(name: Any, named: Mapping[str, Choice], key: str) -> Choice:
    """The choice called `name`: one of `named`, or else a block in short.

    Raises:
        InputError: there is neither; names `key`.
    """
    if isinstance(name, str) and name in named:
        return named[name]
    first = {choice.name: next(iter(choice.blocks.values())) for choice in named.values()}
    return Choice(str(name), {}, {(): find_block(name, first, key)})


def allowed_choices(config: SpaceConfig, named: Mapping[str, Choice]) -> list[dict[str, Choice]]:
    """For each layer, the choices that it has, by name; constraints are not looked at.

    Args:
        config: the space.
        named: its `blocks`.

    Raises:
        InputError: unknown or repeated blocks, no choice at all, or a layer that is not there.
    """

    def found(names: Any, key: str) -> dict[str, Choice]:
        if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
            raise InputError(key, names, "a list of block names, at least one")
        return {name: find_choice(name, named, key) for name in expanded(names, key)}

    allowed = [found(config.choices, "space.choices")] * positive("space.layers", config.layers, limits.LAYERS)
    for layer, names in config.per_layer.items():
        key = f"space.per_layer.{layer}"
        if not str(layer).isdecimal() or int(layer) >= config.layers:
            raise InputError(key, names, f"a layer from 0 to {config.layers - 1} as the last part of the key")
        allowed[int(layer)] = found(names, key)
    names_of: dict[Block, str] = {}
    for choices in allowed:
        for name, choice in choices.items():
            for block in choice.blocks.values():
                if names_of.setdefault(block, name) != name:
                    raise InputError("space.choices", name, f"blocks that differ: {names_of[block]} is the same")
    return allowed


def make_groups(config: SpaceConfig, allowed: list[dict[str, Choice]]) -> tuple[Group, ...]:
    """The layers that decide together: tied ones choose among what all of them may be.

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
        tied = [layers[start::size] for start in range(size)]
    else:
        tied = [layers[start : start + size] for start in layers[::size]]
    groups = []
    for group in tied:
        first = allowed[group[0]]
        choices = {name: choice for name, choice in first.items() if all(name in allowed[layer] for layer in group)}
        if not choices:
            names = ", ".join(map(str, group))
            raise InputError("space.per_layer", config.per_layer, f"a choice that the tied layers {names} share")
        groups.append(Group(tuple(group), choices))
    return tuple(groups)
