"""The sampler made for this search: a model of what is measured, the known costs, and a random draw."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from nas.results.pareto import hypervolume_gain, on_front
from nas.search.problem import Problem
from nas.search.surrogate import LayoutProcess
from search_space.layouts.layout import Layout

FEWEST = 6
"""Layouts that have to be known before the model is asked."""
DRAWN, MUTATED = 200, 300
"""Candidates drawn from the space, and candidates made by changing layouts of the front."""
TRIES = 20
"""Random draws in search of a layout that is not taken, while the model is not asked."""
MARGIN = 0.05
"""How far the reference of the hypervolume lies beyond the worst of the range, in ranges."""


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
        self._processes = {name: LayoutProcess() for name in problem.measured}
        self._codes: dict[Layout, list[list[float]]] = {}

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
        seen: dict[Layout, list[list[float]]] = {}
        for each in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            seen.setdefault(self._space.layout(self._from_params(each.params)), []).append(each.values)
        layout = self._choose(seen) if len(seen) >= FEWEST else self._untaken()
        values = self._space.values(layout) or {}
        return {d.name: d.choices.index(values[d.name]) if d.ordered else values[d.name] for d in self._space.decisions}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random choice; only reached for parameters that are no decisions of the space."""
        return optuna.samplers.RandomSampler(seed=self._random.randrange(2**32)).sample_independent(
            study, trial, param_name, param_distribution
        )

    def _from_params(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {d.name: d.choices[params[d.name]] if d.ordered else params[d.name] for d in self._space.decisions}

    def _untaken(self) -> Layout:
        """A random layout; a taken one only where none is left after some draws."""
        for _ in range(TRIES):
            layout = self._space.sample(self._random)
            if layout not in self._problem.taken:
                break
        return layout

    def _choose(self, seen: Mapping[Layout, list[list[float]]]) -> Layout:
        known = list(seen)
        believed = self._losses(known, self._fit(known, seen))
        front = on_front(believed)
        candidates = self._candidates([known[i] for i in np.flatnonzero(front)], self._problem.taken | seen.keys())
        if not candidates:
            return self._untaken()
        codes = self._coded(candidates)
        drawn = {name: p.draw(codes, self._generator)[1].numpy() for name, p in self._processes.items()}
        plausible = self._losses(candidates, drawn)
        # Scales at which the whole range of every objective counts alike.
        everything = np.concatenate([believed, plausible])
        low, span = everything.min(0), np.ptp(everything, 0)
        span = np.where(span > 0, span, 1.0)
        scaled, best = (plausible - low) / span, (believed[front] - low) / span
        gain = hypervolume_gain(scaled, best, np.full(len(span), 1 + MARGIN))
        return candidates[int(np.argmax(gain if gain.max() > 0 else -scaled.sum(1)))]

    def _fit(self, known: list[Layout], seen: Mapping[Layout, list[list[float]]]) -> dict[str, np.ndarray]:
        """Learns from what was measured; returns the posterior means of the losses."""
        codes = self._coded(known)
        runs = torch.tensor([len(seen[layout]) for layout in known], dtype=torch.float64)
        means = {}
        for name, process in self._processes.items():
            column = list(self._problem.objectives).index(name)
            goal = self._problem.goals[name]
            losses = [goal.losses([values[column] for values in seen[layout]]).mean() for layout in known]
            process.fit(codes, torch.tensor(losses, dtype=torch.float64), runs)
            means[name] = process.posterior(codes)[0].numpy()
        return means

    def _losses(self, layouts: list[Layout], measured: Mapping[str, np.ndarray]) -> np.ndarray:
        """Losses [layouts, objectives]: of what is measured as given, of costs exactly."""
        columns = {**self._problem.cost_losses(layouts), **measured}
        return np.stack([columns[name] for name in self._problem.objectives], 1)

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
        values = dict(self._values_of(self._random.choice(parents)))
        decisions = list(self._space.decisions)
        kind = self._random.random()
        if kind < 0.5:
            for decision in self._random.sample(decisions, min(len(decisions), self._random.choice((1, 1, 2)))):
                values[decision.name] = self._random.choice(decision.choices)
        elif kind < 0.75:
            one, other = self._random.choice(decisions), self._random.choice(decisions)
            if values[one.name] in other.choices and values[other.name] in one.choices:
                values[one.name], values[other.name] = values[other.name], values[one.name]
        else:
            second = self._values_of(self._random.choice(parents))
            values.update({d.name: second[d.name] for d in decisions if self._random.random() < 0.5})
        return self._space.layout(values)

    def _values_of(self, layout: Layout) -> dict[str, Any]:
        return self._space.values(layout) or self._space.values(self._space.sample(self._random)) or {}

    def _coded(self, layouts: list[Layout]) -> torch.Tensor:
        """Layouts as numbers [N, G, 1 + F]; `Space.code` says which."""
        for layout in layouts:
            if layout not in self._codes:
                self._codes[layout] = self._space.code(layout)
        return torch.tensor([self._codes[layout] for layout in layouts], dtype=torch.float64)
