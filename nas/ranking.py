"""How far two rankings of the same things agree."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

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


def kendall(one: Sequence[float], other: Sequence[float]) -> Agreement:
    """Kendall's tau-b of paired values."""
    return _resampled(taus, one, other)


def spearman(one: Sequence[float], other: Sequence[float]) -> Agreement:
    """Spearman's rho of paired values."""
    return _resampled(rhos, one, other)


def taus(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Kendall's tau-b along the last axis: [..., N] and [..., N], which broadcast, -> [...]."""
    i, j = np.triu_indices(one.shape[-1], 1)
    return _cosine(np.sign(one[..., i] - one[..., j]), np.sign(other[..., i] - other[..., j]))


def rhos(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Spearman's rho, likewise."""
    a, b = (rankdata(x, axis=-1) for x in (one, other))
    return _cosine(a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True))


def _resampled(statistic: Callable, one: Sequence[float], other: Sequence[float]) -> Agreement:
    a, b = np.asarray(one, float), np.asarray(other, float)
    if len(a) < 2:
        return Agreement(np.nan, np.nan, np.nan, len(a))
    draws = np.random.default_rng(0).integers(len(a), size=(RESAMPLES, len(a)))
    values = statistic(a[draws], b[draws])
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, [0.025, 0.975]) if len(values) else (np.nan, np.nan)
    return Agreement(float(statistic(a[None], b[None])[0]), float(low), float(high), len(a))


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
