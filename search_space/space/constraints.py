"""What a layout has to keep to, known before anything is trained."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields

from search_space.checks import count, or_none, positive_number
from search_space.cost.objectives import cost_objectives
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """Limits on layouts. A name is a block of the space, or a mixer, or as in family:delta a family of mixers: then all
    blocks with that mixer, or one of them, count.

    Args:
        at_most: name -> most layers of it, at the depth of the search.
        at_least: name -> fewest layers of it, at the depth of the search.
        not_first: names that may not be layer 0.
        max_parameters: most parameters of the model at the target; null means no limit.
        max_cache_bytes: most bytes of cache and state per sequence at the target; null means no limit.
        max_decode_ms: most milliseconds per decode step at the target; null means no limit.

    Raises:
        InputError: a limit is not a number that can be meant; the key begins with "space.constraints".
    """

    at_most: dict[str, int] = field(default_factory=dict)
    at_least: dict[str, int] = field(default_factory=dict)
    not_first: list[str] = field(default_factory=list)
    max_parameters: float | None = None
    max_cache_bytes: float | None = None
    max_decode_ms: float | None = None

    def __post_init__(self):
        for key, limits in (("at_most", self.at_most), ("at_least", self.at_least)):
            for name, limit in limits.items():
                count(f"space.constraints.{key}.{name}", limit)
        for key, budget in self.budgets.items():
            or_none(positive_number, f"space.constraints.max_{key}", budget)

    @property
    def budgets(self) -> dict[str, float]:
        """Efficiency objective -> most of it, for the limits that are set."""
        limits = {f.name.removeprefix("max_"): getattr(self, f.name) for f in fields(self)}
        return {key: limit for key, limit in limits.items() if key in cost_objectives() and limit is not None}


@dataclass(frozen=True)
class CountRule:
    """Least and most layers, in all, of a set of blocks.

    Args:
        key: which constraint this is, as in "at_most.attention".
        blocks: the blocks that count, among those of the space.
        least: fewest layers.
        most: most layers.
    """

    key: str
    blocks: frozenset[Block]
    least: int
    most: int

    def excess(self, layout: Layout) -> int:
        """Layers by which the rule is broken; 0 or less where it is kept."""
        count = sum(block in self.blocks for block in layout.layers)
        return max(self.least - count, count - self.most)


Meaning = Callable[[str, str], frozenset[Block]]
"""(name, key for the message) -> the blocks of a space that a constraint means by the name."""


def count_rules(constraints: Constraints, meaning: Meaning, layers: int) -> list[CountRule]:
    """The limits on counts, applied to the blocks of a space.

    Args:
        constraints: the limits.
        meaning: what their names mean.
        layers: depth of the search.

    Raises:
        InputError: a limit names neither a block nor a mixer.
    """
    rules = []
    for name, most in constraints.at_most.items():
        key = f"at_most.{name}"
        rules.append(CountRule(key, meaning(name, f"space.constraints.{key}"), 0, most))
    for name, least in constraints.at_least.items():
        key = f"at_least.{name}"
        rules.append(CountRule(key, meaning(name, f"space.constraints.{key}"), least, layers))
    return rules
