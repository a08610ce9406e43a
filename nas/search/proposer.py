"""Asks Optuna for layouts, and tells it what they scored."""

import random
from collections.abc import Callable, Collection

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState, create_trial

from nas.search.samplers import SAMPLERS
from search_space.layouts.layout import Layout
from search_space.space.space import Space

ATTEMPTS = 200
"""How often a sampler may propose something known or infeasible before a layout is drawn at random instead."""


class Proposer:
    """A study in memory over the decisions of a space: maximise recall, minimise the efficiency objective.

    The record of the search is the run folder, not the study, which is rebuilt from it on resume; so a sampler sees
    every run (several seeds of a layout are several observations) and none is lost with the process.

    Args:
        efficiency: cost of a layout.
        sampler: name in the catalogue of samplers.
    """

    def __init__(self, space: Space, efficiency: Callable[[Layout], float], sampler: str, seed: int):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space, self._efficiency = space, efficiency
        self._distributions: dict[str, BaseDistribution] = {
            slot.name: CategoricalDistribution(slot.choices) for slot in space.slots
        }
        factory = SAMPLERS.get(sampler, key="search.sampler")
        self._study = optuna.create_study(directions=["maximize", "minimize"], sampler=factory(space, efficiency, seed))
        self._asked: dict[Layout, optuna.Trial] = {}
        self._scores: dict[Layout, float] = {}
        self._random = random.Random(seed)

    def propose(self, taken: Collection[Layout]) -> Layout | None:
        """A feasible layout that is not in `taken`; None when none can be found any more."""
        for _ in range(ATTEMPTS):
            trial = self._study.ask(self._distributions)
            layout = self._space.layout(trial.params)
            known = self._scores.get(layout)
            if layout not in taken and self._space.feasible(layout):
                self._asked[layout] = trial
                return layout
            if known is not None:
                self._study.tell(trial, [known, self._efficiency(layout)])
            else:
                # Never FAIL: samplers ignore failed trials and propose them again.
                self._study.tell(trial, state=TrialState.PRUNED)
        return self._draw(taken)

    def _draw(self, taken: Collection[Layout]) -> Layout | None:
        for _ in range(ATTEMPTS):
            layout = self._space.sample(self._random)
            if layout not in taken:
                return layout
        return None

    def tell(self, layout: Layout, recall: float | None) -> None:
        """Passes on what a run of `layout` scored; None for a run that ended with an error."""
        trial = self._asked.pop(layout, None)
        if recall is None:
            if trial is not None:
                self._study.tell(trial, state=TrialState.PRUNED)
            return
        self._scores[layout] = recall
        values = [recall, self._efficiency(layout)]
        if trial is not None:
            self._study.tell(trial, values)
            return
        decisions = self._space.decisions(layout)
        if decisions is not None:
            self._study.add_trial(create_trial(params=decisions, distributions=self._distributions, values=values))
