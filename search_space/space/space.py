"""The search space: layouts as free decisions, and whether they keep the constraints."""

import random
from collections.abc import Mapping
from itertools import product
from math import prod
from typing import Any

from search_space.cost.cost import cost
from search_space.cost.objectives import cost_objectives
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.layouts.reading import forms, reads
from search_space.parts.below import Forms, unmet
from search_space.parts.build import mixer_class
from search_space.parts.families import family_in
from search_space.space.choices import (
    BLOCK,
    Decision,
    Group,
    SpaceConfig,
    allowed_choices,
    find_choice,
    make_groups,
    parse_choices,
)
from search_space.space.constraints import count_rules
from search_space.space.counting import Counting

DRAWS = 20
"""Layouts drawn in the hope that one keeps the budgets, before a drawn one is changed until it does..."""
CHANGES = 50
"""...by so many changes a group of layers at most."""


class Space:
    """Layouts that may be searched, as decisions: values map the name of each decision to what was chosen.

    Args:
        config: what may be searched.
        target: what budgets are stated for.

    Attributes:
        decisions: the free decisions, the same through a whole search.
        codebook: what a group of layers may be, as numbers: which choice it is, then one column for each field of any
            choice: the rank of its value in [0, 1], and 0 where the field is inactive.

    Raises:
        InputError: the configuration is wrong, or no layout keeps all constraints; names a key under "space".
    """

    decisions: tuple[Decision, ...]

    def __init__(self, config: SpaceConfig, target: Target):
        self.config, self.target = config, target
        self._limits = config.constraints
        self._dims = target.sizes.dims()
        self._budgets = {key: (limit, cost_objectives()[key]) for key, limit in self._limits.budgets.items()}
        self._named = parse_choices(config.blocks)
        allowed = allowed_choices(config, self._named)
        self._all = frozenset(b for choices in allowed for choice in choices.values() for b in choice.blocks.values())
        key = "space.constraints.not_first"
        self._not_first = {name: self._meaning(name, key) for name in self._limits.not_first}
        excluded = frozenset().union(*self._not_first.values())
        allowed[0] = {name: c for name, c in allowed[0].items() if not excluded.issuperset(c.blocks.values())}
        if not allowed[0]:
            raise InputError(key, self._limits.not_first, "a choice left for layer 0")
        self._groups = make_groups(config, allowed)
        self.decisions = tuple(decision for group in self._groups for decision in group.decisions())
        self._found = [_by_block(group) for group in self._groups]
        self._kinds = list(dict.fromkeys(name for group in self._groups for name in group.choices))
        self._columns = {d.field: d.choices for d in self.decisions if d.field != BLOCK}
        rows = [{b: self._row(g, v) for b, v in f.items()} for g, f in zip(self._groups, self._found, strict=True)]
        self.codebook = list(dict.fromkeys(row for each in rows for row in each.values()))
        self._codes = [{block: self.codebook.index(row) for block, row in each.items()} for each in rows]
        self._rules = count_rules(self._limits, self._meaning, config.layers)
        self._reading = self._check_readers()
        self._check_counts()
        self._counting = Counting([(len(group.layers), group.blocks) for group in self._groups], self._rules)
        if not self.size:
            limits = {"at_most": self._limits.at_most, "at_least": self._limits.at_least}
            raise InputError("space.constraints", limits, f"limits that {config.layers} layers can keep together")
        self._example = self._find_example()

    @property
    def size(self) -> int:
        """Number of layouts, with those that only break a budget or have a layer without what it reads below it."""
        return self._counting.size

    @property
    def blocks(self) -> dict[str, Block]:
        """All blocks that some layer may be, by names that say which choice they are and with what values."""
        found = {}
        for group in self._groups:
            for choice in group.choices.values():
                for values, block in choice.blocks.items():
                    chosen = ", ".join(f"{name}={v}" for name, v in zip(choice.fields, values, strict=True))
                    found[f"{choice.name}({chosen})" if chosen else choice.name] = block
        return found

    @property
    def groups(self) -> list[Group]:
        """Layers that decide together, and what they may be, in the order of `code`."""
        return list(self._groups)

    def layout(self, values: Mapping[str, Any]) -> Layout:
        """The layout that `values`, a choice for each decision, stand for; of inactive fields nothing depends."""
        blocks = []
        for group in self._groups:
            choice = group.choices[values[group.name]]
            chosen = tuple(values[f"{group.name}.{choice.name}.{name}"] for name in choice.fields)
            blocks.append(choice.blocks[chosen])
        return self._layout(blocks)

    def values(self, layout: Layout) -> dict[str, Any] | None:
        """The values that lead to `layout`, or None where none do. They may break constraints.

        Inactive fields have their first choice, so that equal layouts have equal values.
        """
        if len(layout.layers) != self.config.layers:
            return None
        values = {decision.name: decision.choices[0] for decision in self.decisions}
        for group, found in zip(self._groups, self._found, strict=True):
            block, *others = {layout.layers[layer] for layer in group.layers}
            if others or block not in found:
                return None
            values |= found[block]
        return values

    def code(self, layout: Layout) -> list[int]:
        """A layout of the space as numbers, for models of it: for each group of layers, its row of `codebook`."""
        return [codes[layout.layers[group.layers[0]]] for group, codes in zip(self._groups, self._codes, strict=True)]

    def codes(self, place: int) -> list[int]:
        """The rows of `codebook` for the blocks of a group, in the order of `Group.blocks`."""
        return [self._codes[place][block] for block in self._groups[place].blocks]

    def _row(self, group: Group, values: Mapping[str, Any]) -> tuple[float, ...]:
        ranks = {
            field: choices.index(values[f"{group.name}.{field}"]) / max(1, len(choices) - 1)
            for field, choices in self._columns.items()
            if f"{group.name}.{field}" in values
        }
        return float(self._kinds.index(values[group.name])), *(ranks.get(field, 0.0) for field in self._columns)

    def all(self, most: int) -> list[Layout] | None:
        """All feasible layouts, or None where there are more than `most` to look at."""
        if prod(len(group.blocks) for group in self._groups) > most:
            return None
        layouts = (self._layout(list(blocks)) for blocks in product(*(group.blocks for group in self._groups)))
        return [layout for layout in layouts if self.feasible(layout)]

    def violations(self, layout: Layout) -> dict[str, float]:
        """How far each constraint is broken, 0 or less where it is kept; the same names for every layout.

        Counts are in layers, `not_first` is 1 or 0, budgets are in shares of the limit. Where a choice reads keys and
        values of layers below, `reading` is the number of layers that find none.
        """
        return {
            **{rule.key: float(rule.excess(layout)) for rule in self._rules},
            **{f"not_first.{name}": float(layout.layers[0] in b) for name, b in self._not_first.items()},
            **self._excess(layout),
        }

    def feasible(self, layout: Layout) -> bool:
        """Whether `layout` keeps all constraints."""
        return all(excess <= 0 for excess in self.violations(layout).values())

    def sample(self, rng: random.Random) -> Layout:
        """A feasible layout at random: all are equally likely, unless budgets leave few of them."""
        for _ in range(DRAWS):
            drawn = self._counting.sample(rng)
            if not self._overspent(drawn):
                return self._layout(drawn)
        return self._layout(self._repaired(drawn, rng) or self._example)

    def _layout(self, blocks: list[Block]) -> Layout:
        """The layout with `blocks`, one for each group of layers."""
        layers = {layer: block for group, block in zip(self._groups, blocks, strict=True) for layer in group.layers}
        return Layout(tuple(layers[layer] for layer in range(self.config.layers)))

    def _excess(self, layout: Layout) -> dict[str, float]:
        """For each budget "max_...", by which share of it the layout exceeds it, 0 or less where it is kept; and how
        many layers have nothing to read below them."""
        excess = {"reading": float(len(unmet(map(self._forms, layout.layers))))} if self._reading else {}
        if self._budgets:
            price = cost(layout, self.target)
            excess |= {f"max_{key}": of(price) / limit - 1 for key, (limit, of) in self._budgets.items()}
        return excess

    def _forms(self, block: Block) -> Forms:
        """What layers above may read of the block, and what it reads of those below."""
        return forms(self.target.part(block.mixer), self._dims)

    def _overspent(self, blocks: list[Block]) -> float:
        """Sum of what is over budget, in shares of the budgets, and of layers with nothing to read."""
        return sum(max(0.0, excess) for excess in self._excess(self._layout(blocks)).values())

    def _repaired(self, blocks: list[Block], rng: random.Random) -> list[Block] | None:
        """`blocks` changed at random, never for the worse, until budgets are kept and layers find what they read; None
        where that fails."""
        overspent = self._overspent(blocks)
        for _ in range(CHANGES * len(blocks)):
            if not overspent:
                return blocks
            place = rng.randrange(len(blocks))
            changed = list(blocks)
            changed[place] = rng.choice(self._groups[place].blocks)
            if all(rule.excess(self._layout(changed)) <= 0 for rule in self._rules):
                excess = self._overspent(changed)
                if excess <= overspent:
                    blocks, overspent = changed, excess
        return None

    def read_by(self, block: Block) -> list[Block]:
        """Blocks of the space with keys and values that a layer of `block` reads, where they lie below it."""
        read = set(self._forms(block)[1]) if reads(block) else set()
        return [other for other in self.blocks.values() if set(self._forms(other)[0]) & read] if read else []

    def _check_readers(self) -> bool:
        """Whether there are blocks that read of layers below; each has to have another that keeps it."""
        readers = {name: block for name, block in self.blocks.items() if reads(block)}
        offered = {form for block in self._all for form in self._forms(block)[0]} if readers else set()
        for name, block in readers.items():
            for form in self._forms(block)[1]:
                if form not in offered:
                    raise InputError("space.choices", name, f"beside it a choice of {form.of} with {form}")
        return bool(readers)

    def _check_counts(self) -> None:
        """Looks at each limit by itself, so that the message can name it."""
        for rule in self._rules:
            possible, forced = 0, 0
            for group in self._groups:
                matches = [block in rule.blocks for block in group.blocks]
                possible += any(matches) * len(group.layers)
                forced += all(matches) * len(group.layers)
            if rule.least > possible:
                expected = f"at most {possible}, the layers that may be so"
                raise InputError(f"space.constraints.{rule.key}", rule.least, expected)
            if rule.most < forced:
                expected = f"at least {forced}, the layers that cannot be otherwise"
                raise InputError(f"space.constraints.{rule.key}", rule.most, expected)

    def _find_example(self) -> list[Block]:
        """Choices that keep all constraints; says which budget is too tight where there are none."""
        rng, budgets = random.Random(0), self._limits.budgets
        start = self._counting.sample(rng)
        cheapest = {key: self._cheapest(key) for key in budgets}
        for blocks in (start, *cheapest.values()):
            found = self._repaired(blocks, rng)
            if found:
                return found
        for key, blocks in cheapest.items():
            layout = self._layout(blocks)
            value = cost_objectives()[key](cost(layout, self.target))
            if value > budgets[key]:
                expected = f"at least {value:.6g}, what the cheapest layout costs ({layout})"
                raise InputError(f"space.constraints.max_{key}", budgets[key], expected)
        if self._reading and not budgets:
            readers = ", ".join(name for name, block in self.blocks.items() if reads(block))
            raise InputError("space.choices", readers, "layers below that may be what they read")
        limits = {f"max_{key}": limit for key, limit in budgets.items()}
        raise InputError("space.constraints", limits, "budgets that some layout keeps together")

    def _cheapest(self, key: str) -> list[Block]:
        """The choices that cost least; a block's price is what a layout of nothing else costs."""
        pure = {block: cost(Layout((block,)), self.target) for block in self._all}
        return self._counting.cheapest({block: cost_objectives()[key](price) for block, price in pure.items()})

    def _meaning(self, name: str, key: str) -> frozenset[Block]:
        """The blocks that a constraint means by `name`: those of the choice called so, or all with that mixer, or all
        with a mixer of that family.

        Raises:
            InputError: there is no such choice, mixer or family; names `key`.
        """
        family = family_in(name, key)
        if family is not None:
            return frozenset(b for b in self._all if b.mixer and mixer_class(b.mixer).family == family)
        choice = find_choice(name, self._named, key)
        if name in self._named:
            return self._all & frozenset(choice.blocks.values())
        return frozenset(block for block in self._all if block.mixer.kind == name)


def _by_block(group: Group) -> dict[Block, dict[str, Any]]:
    """For each block of a group, the values of the decisions that lead to it."""
    found = {}
    for choice in group.choices.values():
        for chosen, block in choice.blocks.items():
            fields = {f"{group.name}.{choice.name}.{name}": v for name, v in zip(choice.fields, chosen, strict=True)}
            found[block] = {group.name: choice.name, **fields}
    return found
