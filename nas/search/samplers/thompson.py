"""The sampler made for this search: a model of what is measured, the known costs, and a random draw."""

import random
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import optuna
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial
from torch import Tensor

from nas.results.pareto import hypervolume_gain, on_front
from nas.search.problem import Problem
from nas.search.surrogate import LayoutProcess
from search_space.layouts.layout import Layout

FEWEST = 6
"""Layouts that have to be known before the model is asked."""
GROWTH = 0.2
"""The model is fitted anew when there are so many more runs, in shares; in between it is updated."""
DRAWN, MUTATED = 200, 300
"""Candidates drawn from the space, and candidates made by changing layouts of the front."""
TRIES = 20
"""Random draws in search of a layout that is not taken, while the model is not asked."""
MARGIN = 0.05
"""How far the reference of the hypervolume lies beyond the worst of the range, in ranges."""


class Known:
    """What was told, as numbers, and the models of it; kept from one proposal to the next to save work.

    Attributes:
        first: layout -> row of its first run.
    """

    def __init__(self, problem: Problem):
        self._problem = problem
        self.first: dict[Layout, int] = {}
        self._codes: list[list[int]] = []
        self._losses: list[list[float]] = []
        self._costs: list[np.ndarray] = []
        self._fitted: dict[str, tuple[int, LayoutProcess]] = {}

    def update(self) -> None:
        """Takes in the runs that were told since the last call."""
        goals = list(self._problem.goals.values())
        for layout, values in self._problem.told[len(self._codes) :]:
            if layout not in self.first:
                self.first[layout] = len(self._codes)
                self._costs.append(self._problem.cost_losses([layout])[0])
            self._codes.append(self._problem.space.code(layout))
            self._losses.append([float(goal.losses(value)) for goal, value in zip(goals, values, strict=True)])

    def costs(self) -> np.ndarray:
        """Losses of the cost objectives of the layouts in `first`: [layouts, costs]."""
        return np.stack(self._costs)

    def processes(self) -> dict[str, LayoutProcess]:
        """Measured objective -> the process of its losses, up to date.

        Which runs it was fitted to depends on their number alone: so a search that is resumed has the same model.
        """
        codes, losses = torch.tensor(self._codes), torch.tensor(self._losses, dtype=torch.float64)
        fit = FEWEST
        while (more := fit + max(1, int(GROWTH * fit))) <= len(codes):
            fit = more
        for name in self._problem.measured:
            values = losses[:, list(self._problem.objectives).index(name)]
            if self._fitted.get(name, (0, None))[0] != fit:
                process = LayoutProcess(self._problem.space.codebook)
                process.fit(codes[:fit], values[:fit])
                self._fitted[name] = fit, process
            self._fitted[name][1].update(codes, values)
        return {name: process for name, (_, process) in self._fitted.items()}


class ThompsonSampler(optuna.samplers.BaseSampler):
    """Thompson sampling of the front (after 1805.07852): a Gaussian process says what values are plausible.

    Costs are known before training, so only measured objectives are modelled, each by a process of its own. Each
    proposal draws one plausible value for every candidate and takes the layout that would then add most hypervolume
    to the front of the posterior means. Noise is part of the model, so a layout that was lucky with one seed does not
    hold the front alone. Layouts that are taken are no candidates.

    Args:
        problem: what may be proposed, and what is traded.
        seed: of candidates and draws.
    """

    def __init__(self, problem: Problem, seed: int):
        self._problem, self._space = problem, problem.space
        self._random = random.Random(seed)
        self._generator = torch.Generator().manual_seed(seed)
        self._known: Known = problem.memory.setdefault("thompson", Known(problem))

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All decisions are taken together."""
        return {
            d.name: IntDistribution(0, len(d.choices) - 1) if d.ordered else CategoricalDistribution(d.choices)
            for d in self._space.decisions
        }

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Decisions of the layout to try next."""
        self._known.update()
        layout = self._choose() if len(self._known.first) >= FEWEST else self._untaken()
        values = self._space.values(layout) or {}
        return {d.name: d.choices.index(values[d.name]) if d.ordered else values[d.name] for d in self._space.decisions}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random choice; only reached for parameters that are no decisions of the space."""
        return optuna.samplers.RandomSampler(seed=self._random.randrange(2**32)).sample_independent(
            study, trial, param_name, param_distribution
        )

    def _untaken(self) -> Layout:
        """A random layout; a taken one only where none is left after some draws."""
        for _ in range(TRIES):
            layout = self._space.sample(self._random)
            if layout not in self._problem.taken:
                break
        return layout

    def _choose(self) -> Layout:
        layouts, rows = list(self._known.first), list(self._known.first.values())
        processes = self._known.processes()
        believed = self._losses(self._known.costs(), {name: p.means()[rows] for name, p in processes.items()})
        front = on_front(believed)
        candidates = self._candidates([layouts[i] for i in np.flatnonzero(front)])
        if not candidates:
            return self._untaken()
        codes = torch.tensor([self._space.code(layout) for layout in candidates])
        drawn = {name: process.draw(codes, self._generator) for name, process in processes.items()}
        plausible = self._losses(self._problem.cost_losses(candidates), drawn)
        # Scales at which the whole range of every objective counts alike.
        everything = np.concatenate([believed, plausible])
        low, span = everything.min(0), np.ptp(everything, 0)
        span = np.where(span > 0, span, 1.0)
        scaled, best = (plausible - low) / span, (believed[front] - low) / span
        gain = hypervolume_gain(scaled, best, np.full(len(span), 1 + MARGIN))
        return candidates[int(np.argmax(gain if gain.max() > 0 else -scaled.sum(1)))]

    def _losses(self, costs: np.ndarray, measured: Mapping[str, Tensor]) -> np.ndarray:
        """Losses [layouts, objectives] from those of the costs [layouts, costs] and of each measured objective."""
        exact = iter(costs.T)
        columns = [measured[n].numpy() if n in measured else next(exact) for n in self._problem.objectives]
        return np.stack(columns, 1)

    def _candidates(self, parents: list[Layout]) -> list[Layout]:
        found = dict.fromkeys(self._space.sample(self._random) for _ in range(DRAWN))
        values_of = cache(self._values_of)
        for _ in range(MUTATED):
            child = self._child([values_of(parent) for parent in self._random.choices(parents, k=2)])
            if child not in found and self._space.feasible(child):
                found[child] = None
        return [layout for layout in found if layout not in self._problem.taken and layout not in self._known.first]

    def _child(self, parents: list[dict[str, Any]]) -> Layout:
        """The first of two parents with one or two decisions changed, two of them exchanged, or some of the other's."""
        values, second = dict(parents[0]), parents[1]
        decisions = self._space.decisions
        kind = self._random.random()
        if kind < 0.5:
            for decision in self._random.sample(decisions, min(len(decisions), self._random.choice((1, 1, 2)))):
                values[decision.name] = self._random.choice(decision.choices)
        elif kind < 0.75:
            one, other = self._random.choice(decisions), self._random.choice(decisions)
            if values[one.name] in other.choices and values[other.name] in one.choices:
                values[one.name], values[other.name] = values[other.name], values[one.name]
        else:
            values.update({d.name: second[d.name] for d in decisions if self._random.random() < 0.5})
        return self._space.layout(values)

    def _values_of(self, layout: Layout) -> dict[str, Any]:
        return self._space.values(layout) or self._space.values(self._space.sample(self._random)) or {}
