"""What a sampler is asked to solve."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

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
        told: the runs that ended with a result, in the order in which they were told: layout, values of the objectives.
        memory: what samplers keep from one proposal to the next to save work; it has to follow from `told`.
    """

    space: Space
    objectives: Sequence[str]
    costs: Callable[[Layout], dict[str, float]]
    taken: set[Layout] = field(default_factory=set)
    told: list[tuple[Layout, Sequence[float]]] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def goals(self) -> dict[str, Objective]:
        """The objectives by name."""
        return {name: OBJECTIVES.get(name) for name in self.objectives}

    @property
    def measured(self) -> list[str]:
        """Names of the objectives that take training."""
        return [name for name, goal in self.goals.items() if goal.measured]

    def cost_losses(self, layouts: Sequence[Layout]) -> np.ndarray:
        """Losses of the cost objectives, in their order: lower is better, on their scales; [layouts, costs]."""
        costs = [self.costs(layout) for layout in layouts]
        columns = [g.losses([cost[n] for cost in costs]) for n, g in self.goals.items() if not g.measured]
        return np.stack(columns, 1) if columns else np.empty((len(layouts), 0))
