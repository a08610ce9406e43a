"""Asks Optuna for layouts, and tells it what they scored."""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from nas.search.problem import Problem
from nas.search.samplers import SAMPLERS
from search_space.layouts.layout import Layout
from search_space.space.space import Space

ATTEMPTS = 20
"""How often a sampler may propose something known or infeasible before a layout is drawn at random instead..."""
DRAWS = 500
"""...and how often one is drawn before the space counts as used up."""
FEW = 5000
"""Spaces of so many layouts are listed, so that the last one is found."""


class Proposer:
    """A study in memory over the decisions of a space, with the objectives of the search.

    The record of the search is the run folder, not the study, which is rebuilt from it on resume; so a sampler sees
    every run (several seeds of a layout are several observations) and none is lost with the process. A proposal
    follows from the seed, its number and what the study holds: each has a sampler and random numbers of its own.

    Args:
        space: what may be proposed.
        objectives: names of what is traded.
        costs: cost objective -> value at the target, of a layout.
        sampler: name in the catalogue of samplers.
        seed: of the sampler and of random draws.
    """

    def __init__(
        self,
        space: Space,
        objectives: Sequence[str],
        costs: Callable[[Layout], dict[str, float]],
        sampler: str,
        seed: int,
    ):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.problem = Problem(space, tuple(objectives), costs)
        self._distributions: dict[str, BaseDistribution] = {
            d.name: IntDistribution(0, len(d.choices) - 1) if d.ordered else CategoricalDistribution(d.choices)
            for d in space.decisions
        }
        self._sampler = SAMPLERS.get(sampler, key="search.sampler")
        self._seed = seed
        directions = {"high": StudyDirection.MAXIMIZE, "low": StudyDirection.MINIMIZE}
        self._study = optuna.create_study(
            directions=[directions[goal.better] for goal in self.problem.goals.values()],
            sampler=self._sampler(self.problem, seed),  # so that one that cannot be made is found out now
        )
        self._asked: dict[Layout, int] = {}  # layout -> number of the study's trial
        self._listed = frozenset(space.all(FEW) or ())

    def propose(self, taken: Collection[Layout], number: int | None = None) -> Layout | None:
        """A feasible layout that is not in `taken`; None when the space is used up.

        Args:
            taken: layouts that need not be proposed any more.
            number: of the proposal; by default the number of layouts that are taken.
        """
        space = self.problem.space
        generator = random.Random(f"{self._seed} {len(taken) if number is None else number}")
        self._study.sampler = self._sampler(self.problem, generator.getrandbits(32))
        self.problem.taken.clear()
        self.problem.taken.update(taken)
        if self._listed and self._listed <= self.problem.taken:
            return None
        for _ in range(ATTEMPTS):
            trial = self._study.ask(self._distributions)
            layout = space.layout(self._values(trial.params))
            if layout in self.problem.taken or not space.feasible(layout):
                # Samplers ignore what failed: it leaves no trace that a study rebuilt on resume would lack.
                self._study.tell(trial, state=TrialState.FAIL)
            else:
                self._asked[layout] = trial.number
                if trial.params != self._params(space.values(layout) or {}):
                    # Fields of blocks that are not there: a study rebuilt on resume would not know what they were.
                    noted = self.noted(layout)
                    self._study.tell(trial, state=TrialState.FAIL)
                    self.take_note(layout, noted)
                return layout
        return self._draw(generator)

    def _draw(self, generator: random.Random) -> Layout | None:
        if self._listed:
            left = sorted(self._listed - self.problem.taken, key=lambda layout: layout.key)
            return generator.choice(left)
        for _ in range(DRAWS):
            layout = self.problem.space.sample(generator)
            if layout not in self.problem.taken:
                return layout
        return None

    def noted(self, layout: Layout) -> dict[str, Any]:
        """What the sampler noted about a layout that it proposed and that was not told yet, as plain data."""
        number = self._asked.get(layout)
        return {} if number is None else dict(self._study.get_trials(deepcopy=False)[number].system_attrs)

    def take_note(self, layout: Layout, noted: Mapping[str, Any]) -> None:
        """Takes a layout that an earlier session proposed, and what was noted about it, as proposed just now."""
        chosen = self.problem.space.values(layout)
        if chosen is not None:
            self._add(chosen, TrialState.RUNNING, noted=noted)
            self._asked[layout] = self._study.get_trials(deepcopy=False)[-1].number

    def tell(self, layout: Layout, values: Mapping[str, float] | None) -> None:
        """Passes on what a run of `layout` scored.

        Args:
            layout: proposed, or from elsewhere.
            values: measured objective -> value; None for a run that ended with an error.
        """
        number = self._asked.pop(layout, None)
        chosen = self.problem.space.values(layout)
        if chosen is None:
            return
        scores, state = None, TrialState.PRUNED
        if values is not None:
            known = {**self.problem.costs(layout), **values}
            scores, state = [known[name] for name in self.problem.objectives], TrialState.COMPLETE
            self.problem.told.append((layout, scores))
        if number is not None:
            self._study.tell(number, scores, state=state)
        else:
            self._add(chosen, state, scores)

    def _add(
        self,
        chosen: Mapping[str, Any],
        state: TrialState,
        scores: Sequence[float] | None = None,
        noted: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Adds a trial that the study did not ask for."""
        self._study.add_trial(
            create_trial(
                params=self._params(chosen),
                distributions=self._distributions,
                values=scores,
                state=state,
                system_attrs=dict(noted),
            )
        )

    def _values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the decisions from Optuna's parameters, which hold the ranks of numbers."""
        decisions = self.problem.space.decisions
        return {d.name: d.choices[params[d.name]] if d.ordered else params[d.name] for d in decisions}

    def _params(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The reverse of `_values`."""
        decisions = self.problem.space.decisions
        return {d.name: d.choices.index(values[d.name]) if d.ordered else values[d.name] for d in decisions}
