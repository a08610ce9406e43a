"""What a sampler is asked to solve."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from search_space.cost.objectives import OBJECTIVES, Objective
from search_space.layouts.layout import Layout
from search_space.space.space import Space


@dataclass(frozen=True)
class Problem:
    """A space, what is traded, and what is known without training.

    Args:
        space: what may be proposed.
        objectives: names of what is traded, two or three.
        costs: cost objective -> value at the target, of a layout.
        taken: layouts that need not be proposed any more; it grows during the search.
    """

    space: Space
    objectives: Sequence[str]
    costs: Callable[[Layout], dict[str, float]]
    taken: set[Layout] = field(default_factory=set)

    @property
    def goals(self) -> dict[str, Objective]:
        """The objectives by name."""
        return {name: OBJECTIVES.get(name) for name in self.objectives}

    @property
    def measured(self) -> list[str]:
        """Names of the objectives that take training."""
        return [name for name, goal in self.goals.items() if goal.measured]

    def cost_losses(self, layouts: Sequence[Layout]) -> dict[str, np.ndarray]:
        """Losses of the cost objectives, [layouts] each: lower is better, on their scales."""
        costs = [self.costs(layout) for layout in layouts]
        return {n: g.losses([cost[n] for cost in costs]) for n, g in self.goals.items() if not g.measured}
