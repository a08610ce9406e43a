"""Optuna's own samplers, set up for layouts."""

import optuna

from nas.search.problem import Problem


def random(problem: Problem, seed: int) -> optuna.samplers.BaseSampler:
    """Uniform over the decisions: the baseline that every search has to beat."""
    return optuna.samplers.RandomSampler(seed=seed)


def tpe(problem: Problem, seed: int) -> optuna.samplers.BaseSampler:
    """Multivariate TPE: sees decisions together, which the independent default does not.

    `constant_liar` keeps runs that are asked for at once from being the same.
    """
    return optuna.samplers.TPESampler(multivariate=True, constant_liar=True, n_startup_trials=16, seed=seed)


def nsga2(problem: Problem, seed: int) -> optuna.samplers.BaseSampler:
    """NSGA-II (Deb et al. 2002), with a population that a laptop's budget can turn over."""
    return _Nsga2(population_size=16, seed=seed)


class _Nsga2(optuna.samplers.NSGAIISampler):
    """Gives the parents of a generation in one order, where Optuna's has another one the first time it is asked."""

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[optuna.trial.FrozenTrial]:
        return sorted(super().get_parent_population(study, generation), key=lambda trial: trial.number)
