"""A sampler: any of Optuna's will do."""

import optuna


def coin(problem, seed):
    """Chance alone."""
    return optuna.samplers.RandomSampler(seed=seed)
