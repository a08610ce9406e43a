"""Fronts of two or three objectives.

Everything here works on losses: an array [P, M] of P points and M objectives, lower is better in each, and equal
differences count alike (`Objective.losses` makes them from values).
"""

import moocore
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def on_front(losses: Array) -> NDArray[np.bool_]:
    """Which points no other point beats: [P, M] -> [P] bool.

    A point is beaten by one that is at least as good in every objective and better in one. Of equal points all stay.
    """
    return moocore.is_nondominated(losses, keep_weakly=True)


def hypervolume(losses: Array, reference: Array) -> float:
    """Volume that the points [P, M] beat, up to the reference [M]; points beyond it add nothing."""
    return float(moocore.hypervolume(losses, ref=reference))


def hypervolume_gain(candidates: Array, front: Array, reference: Array) -> Array:
    """What each candidate would add to the hypervolume of a front, alone: [P, M], [F, M], [M] -> [P]."""
    before = hypervolume(front, reference)
    return np.array([hypervolume(np.vstack([front, c]), reference) - before for c in candidates])


def knee(losses: Array) -> int:
    """Index of the point of a front [P, M] with the best trade.

    Each objective is scaled to its range over the front. The best trade is then the point farthest below the line
    (of three objectives: the plane) through the best of each.
    """
    span = np.ptp(losses, axis=0)
    scaled = (losses - losses.min(axis=0)) / np.where(span > 0, span, 1.0)
    return int(np.argmin(scaled.sum(axis=1)))


def front_probability(losses: Array, errors: Array, draws: int = 400, seed: int = 0) -> Array:
    """Share of draws ~ N(losses, errors^2) in which each point is on the front: [P, M], [P, M] -> [P].

    Args:
        losses: of the points.
        errors: standard deviation of each loss; 0 where it is known exactly.
        draws: how many.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    count = np.zeros(len(losses))
    for _ in range(draws):
        count += on_front(losses + errors * generator.standard_normal(losses.shape))
    return count / draws
