"""How far two rankings of the same things agree."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 2000


@dataclass(frozen=True)
class Agreement:
    """A rank correlation with its 95% bootstrap interval (the things drawn anew); NaN where one side is all ties.

    Args:
        count: things that were ranked.
    """

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def kendall(one: ArrayLike, other: ArrayLike) -> Agreement:
    """Kendall's tau-b of paired values [N]; of [P, N] the mean over P, with the same things drawn for all."""
    return _resampled(taus, one, other)


def spearman(one: ArrayLike, other: ArrayLike) -> Agreement:
    """Spearman's rho, likewise."""
    return _resampled(rhos, one, other)


def taus(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Kendall's tau-b along the last axis: [..., N] and [..., N], which broadcast, -> [...]."""
    i, j = np.triu_indices(one.shape[-1], 1)
    return _cosine(np.sign(one[..., i] - one[..., j]), np.sign(other[..., i] - other[..., j]))


def rhos(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Spearman's rho, likewise."""
    from scipy.stats import rankdata  # takes half a second to import

    a, b = (rankdata(x, axis=-1) for x in (one, other))
    return _cosine(a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True))


def mean_of_defined(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean over an axis of what is not NaN; NaN where nothing is."""
    with np.errstate(invalid="ignore"):
        return np.nansum(values, axis) / (~np.isnan(values)).sum(axis)


def _resampled(statistic: Callable, one: ArrayLike, other: ArrayLike) -> Agreement:
    a, b = np.atleast_2d(one), np.atleast_2d(other)
    count = a.shape[1]
    if count < 2:
        return Agreement(np.nan, np.nan, np.nan, count)
    draws = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
    value = mean_of_defined(statistic(a, b), 0)
    if np.isnan(value):
        return Agreement(np.nan, np.nan, np.nan, count)
    # A draw with one side all ties shows no agreement.
    low, high = np.quantile(np.nan_to_num(mean_of_defined(statistic(a[:, draws], b[:, draws]), 0)), [0.025, 0.975])
    return Agreement(float(value), float(low), float(high), count)


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
