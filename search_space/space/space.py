"""The search space: layouts as free decisions, and whether they keep the constraints."""

import random
from collections.abc import Mapping

from search_space.cost.cost import cost
from search_space.cost.objectives import cost_objectives
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.layout import Block, Layout, parse_blocks
from search_space.space.choices import Slot, SpaceConfig, allowed_blocks, make_slots
from search_space.space.constraints import budget_excess, count_rules, meant
from search_space.space.counting import Counting

DRAWS = 20
"""Layouts drawn in the hope that one keeps the budgets, before a drawn one is changed until it does..."""
CHANGES = 50
"""...by so many changes a slot at most."""

__all__ = ["Slot", "Space", "SpaceConfig"]


class Space:
    """Layouts that may be searched. Decisions map the name of each slot to the name of the chosen block.

    Args:
        config: what may be searched.
        target: what budgets are stated for.

    Attributes:
        slots: the free decisions, the same through a whole search.

    Raises:
        InputError: the configuration is wrong, or no layout keeps all constraints; names a key under "space".
    """

    slots: tuple[Slot, ...]

    def __init__(self, config: SpaceConfig, target: Target):
        self.config, self.target = config, target
        self._limits = config.constraints
        named = parse_blocks(config.blocks, "space.blocks")
        allowed = allowed_blocks(config, named)
        self._blocks = {name: block for blocks in allowed for name, block in blocks.items()}
        self._names = {block: name for name, block in self._blocks.items()}
        choices = frozenset(self._names)
        self._not_first = {
            name: meant(name, named, choices, "space.constraints.not_first") for name in self._limits.not_first
        }
        excluded = frozenset().union(*self._not_first.values())
        allowed[0] = {name: block for name, block in allowed[0].items() if block not in excluded}
        if not allowed[0]:
            raise InputError("space.constraints.not_first", self._limits.not_first, "a choice left for layer 0")
        self.slots = make_slots(config, allowed)
        self._rules = count_rules(self._limits, named, choices, config.layers)
        self._check_counts()
        self._counting = Counting(
            [(len(slot.layers), self.blocks(slot)) for slot in self.slots],
            self._rules,
        )
        if not self.size:
            limits = {"at_most": self._limits.at_most, "at_least": self._limits.at_least}
            raise InputError("space.constraints", limits, f"limits that {config.layers} layers can keep together")
        self._example = self._find_example()

    @property
    def size(self) -> int:
        """Number of layouts; those that break nothing but a budget are counted as well."""
        return self._counting.size

    def blocks(self, slot: Slot) -> list[Block]:
        """The blocks that a slot chooses among."""
        return [self._blocks[name] for name in slot.choices]

    def layout(self, decisions: Mapping[str, str]) -> Layout:
        """The layout that `decisions`, a choice for each slot, stand for."""
        return self._layout([self._blocks[decisions[slot.name]] for slot in self.slots])

    def decisions(self, layout: Layout) -> dict[str, str] | None:
        """The decisions that lead to `layout`, or None where no decisions do. They may break constraints."""
        if len(layout.layers) != self.config.layers:
            return None
        decisions = {}
        for slot in self.slots:
            block, *others = {layout.layers[layer] for layer in slot.layers}
            name = self._names.get(block)
            if others or name not in slot.choices:
                return None
            decisions[slot.name] = name
        return decisions

    def violations(self, layout: Layout) -> dict[str, float]:
        """How far each constraint is broken, 0 or less where it is kept; the same names for every layout.

        Counts are in layers, `not_first` is 1 or 0, budgets are in shares of the limit.
        """
        return {
            **{rule.key: float(rule.excess(layout)) for rule in self._rules},
            **{f"not_first.{name}": float(layout.layers[0] in b) for name, b in self._not_first.items()},
            **self._budget_excess(layout),
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
        """The layout with `blocks`, one for each slot."""
        layers = {layer: block for slot, block in zip(self.slots, blocks, strict=True) for layer in slot.layers}
        return Layout(tuple(layers[layer] for layer in range(self.config.layers)))

    def _budget_excess(self, layout: Layout) -> dict[str, float]:
        return budget_excess(self._limits, cost(layout, self.target)) if self._limits.budgets else {}

    def _overspent(self, blocks: list[Block]) -> float:
        """Sum of what is over budget, in shares of the budgets."""
        return sum(max(0.0, excess) for excess in self._budget_excess(self._layout(blocks)).values())

    def _repaired(self, blocks: list[Block], rng: random.Random) -> list[Block] | None:
        """`blocks` changed at random, never for the worse, until budgets are kept; None where that fails."""
        overspent = self._overspent(blocks)
        for _ in range(CHANGES * len(blocks)):
            if not overspent:
                return blocks
            place = rng.randrange(len(blocks))
            changed = list(blocks)
            changed[place] = self._blocks[rng.choice(self.slots[place].choices)]
            if all(rule.excess(self._layout(changed)) <= 0 for rule in self._rules):
                excess = self._overspent(changed)
                if excess <= overspent:
                    blocks, overspent = changed, excess
        return None

    def _check_counts(self) -> None:
        """Looks at each limit by itself, so that the message can name it."""
        for rule in self._rules:
            possible, forced = 0, 0
            for slot in self.slots:
                matches = [self._blocks[name] in rule.blocks for name in slot.choices]
                possible += any(matches) * len(slot.layers)
                forced += all(matches) * len(slot.layers)
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
        limits = {f"max_{key}": limit for key, limit in budgets.items()}
        raise InputError("space.constraints", limits, "budgets that some layout keeps together")

    def _cheapest(self, key: str) -> list[Block]:
        """The choices that cost least; a block's price is what a layout of nothing else costs."""
        pure = {block: cost(Layout((block,)), self.target) for block in self._names}
        return self._counting.cheapest({block: cost_objectives()[key](price) for block, price in pure.items()})
