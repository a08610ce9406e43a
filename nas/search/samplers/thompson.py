"""The sampler made for this search: a model of recall, the known cost, and a random draw."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from nas.results.pareto import hypervolume_gain, on_front
from nas.search.samplers.surrogate import LayoutProcess
from search_space.layouts.layout import Block, Layout
from search_space.space.space import Space

FEWEST = 6
"""Layouts that have to be known before the model is asked."""
DRAWN, MUTATED = 200, 300
"""Candidates drawn from the space, and candidates made by changing layouts of the front."""


class ThompsonSampler(optuna.samplers.BaseSampler):
    """Thompson sampling of the front (after 1805.07852): a Gaussian process says what recalls are plausible.

    Cost is known before training, so only recall is modelled. Each proposal draws one plausible recall for every
    candidate and takes the layout that would then add most hypervolume to the front of the posterior means. Noise is
    part of the model, so a layout that was lucky with one seed does not hold the front alone.

    Args:
        space: what may be proposed; candidates keep its constraints.
        efficiency: cost of a layout, to be low.
        seed: of candidates and draws.
    """

    def __init__(self, space: Space, efficiency: Callable[[Layout], float], seed: int):
        self._space, self._efficiency = space, efficiency
        self._random = random.Random(seed)
        self._generator = torch.Generator().manual_seed(seed)
        self._code: dict[Block, int] = {}
        self._process = LayoutProcess()

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All decisions are taken together."""
        return {slot.name: CategoricalDistribution(slot.choices) for slot in self._space.slots}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Decisions of the layout to try next."""
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        seen: dict[Layout, list[float]] = {}
        for each in done:
            seen.setdefault(self._space.layout(each.params), []).append(each.values[0])
        asked = {
            self._space.layout(each.params)
            for each in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if len(each.params) == len(search_space)
        }
        layout = self._choose(seen, asked) if len(seen) >= FEWEST else self._space.sample(self._random)
        return self._space.decisions(layout) or {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random choice; only reached for parameters that are no decisions of the space."""
        assert isinstance(param_distribution, CategoricalDistribution)
        return self._random.choice(param_distribution.choices)

    def _choose(self, seen: dict[Layout, list[float]], asked: set[Layout]) -> Layout:
        known = list(seen)
        values = torch.tensor([np.mean(v) for v in seen.values()], dtype=torch.float64)
        runs = torch.tensor([len(v) for v in seen.values()], dtype=torch.float64)
        self._process.fit(self._codes(known), values, runs)
        best = self._process.posterior(self._codes(known))[0].numpy()
        cost = np.log([self._efficiency(layout) for layout in known])
        front = on_front(cost, best)
        candidates = self._candidates([known[i] for i in np.flatnonzero(front)], seen.keys() | asked)
        if not candidates:
            return self._space.sample(self._random)
        recall = self._process.draw(self._codes(candidates), self._generator)[1].numpy()
        candidate_cost = np.log([self._efficiency(layout) for layout in candidates])
        # Scales at which the whole range of costs and the whole range of recalls count alike.
        low, high = min(cost.min(), candidate_cost.min()), max(cost.max(), candidate_cost.max())
        span = (high - low) or 1.0
        gain = hypervolume_gain(
            (candidate_cost - low) / span, recall, (cost[front] - low) / span, best[front], (1.05, 0.0)
        )
        return candidates[int(np.argmax(gain if gain.max() > 0 else recall))]

    def _candidates(self, parents: list[Layout], taken: set[Layout]) -> list[Layout]:
        found = {self._space.sample(self._random) for _ in range(DRAWN)}
        for _ in range(MUTATED):
            child = self._child(parents)
            if child not in found and self._space.feasible(child):
                found.add(child)
        # Sets of layouts have no stable order between processes; keys do.
        return sorted(found - taken, key=lambda layout: layout.key)

    def _child(self, parents: list[Layout]) -> Layout:
        """A parent with one or two decisions changed, two of them exchanged, or some taken from another parent."""
        decisions = dict(self._space.decisions(self._random.choice(parents)) or self._any_decisions())
        slots = list(self._space.slots)
        kind = self._random.random()
        if kind < 0.5:
            for slot in self._random.sample(slots, min(len(slots), self._random.choice((1, 1, 2)))):
                decisions[slot.name] = self._random.choice(slot.choices)
        elif kind < 0.75:
            one, other = self._random.choice(slots), self._random.choice(slots)
            if decisions[one.name] in other.choices and decisions[other.name] in one.choices:
                decisions[one.name], decisions[other.name] = decisions[other.name], decisions[one.name]
        else:
            second = self._space.decisions(self._random.choice(parents)) or self._any_decisions()
            decisions.update({slot.name: second[slot.name] for slot in slots if self._random.random() < 0.5})
        return self._space.layout(decisions)

    def _any_decisions(self) -> dict[str, str]:
        return self._space.decisions(self._space.sample(self._random)) or {}

    def _codes(self, layouts: list[Layout]) -> torch.Tensor:
        """Layouts as integers [N, L], one for each kind of block."""
        rows = [[self._code.setdefault(b, len(self._code)) for b in layout.layers] for layout in layouts]
        return torch.tensor(rows)
