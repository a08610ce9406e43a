"""Fronts of two or three objectives.

Everything here works on losses: an array [P, M] of P points and M objectives, lower is better in each, and equal
differences count alike (`Objective.losses` makes them from values).
"""

from functools import lru_cache

import moocore
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

FAR = 2.0
"""Errors for one point and against another, 2.8 of those of their difference, at which their order counts as sure: it
is the other way round in one of 400 draws."""
BLOCK = 256
"""Points whose noise is drawn together, and kept."""


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
    gain = np.zeros(len(candidates))
    for i in np.flatnonzero(~_beaten(candidates, front) & (candidates < reference).all(1)):
        gain[i] = hypervolume(np.vstack([front, candidates[i]]), reference) - before
    return gain


def _beaten(losses: Array, others: Array) -> NDArray[np.bool_]:
    """Which points are no better in any objective than one of the others: [P, M], [Q, M] -> [P] bool."""
    beaten = np.zeros(len(losses), dtype=bool)
    for other in others:
        beaten |= (other <= losses).all(1)
    return beaten


def front_probability(
    losses: Array, errors: Array, numbers: NDArray[np.intp] | None = None, draws: int = 400, seed: int = 0
) -> Array:
    """Share of draws ~ N(losses, errors^2) in which each point is on the front: [P, M], [P, M] -> [P].

    A point that another one beats even when the noise is `FAR` errors for the point and as many against the other is
    not drawn: its share is 0. What it would beat, the other one beats as well.

    Args:
        losses: of the points.
        errors: standard deviation of each loss; 0 where it is known exactly.
        numbers: of the points [P]: one of the same number has the same noise; by default they are counted.
        draws: how many.
        seed: of the draws.
    """
    share = np.zeros(len(losses))
    worst = losses + FAR * errors
    beaten = _beaten(losses - FAR * errors, worst[on_front(worst)])
    beaten &= ~on_front(losses)  # without noise, a point beats itself
    near = np.flatnonzero(~beaten)
    losses, errors, numbers = losses[near], errors[near], near if numbers is None else numbers[near]
    noisy = np.flatnonzero(errors.any(0))
    centre, width = losses.astype(np.float32)[..., None], errors.astype(np.float32)[..., None]
    drawn: dict[int, Array] = {
        int(m): centre[:, m] + width[:, m] * _noise(numbers, draws, seed + int(m)) for m in noisy
    }
    if losses.shape[1] == 2 and len(drawn) == 1:
        ((m, values),) = drawn.items()
        share[near] = _on_fronts(losses[:, 1 - m], values).mean(1)
    else:
        columns = [drawn.get(m, np.repeat(losses[:, m, None], draws, 1)) for m in range(losses.shape[1])]
        share[near] = np.mean([on_front(points) for points in np.stack(columns, 2).transpose(1, 0, 2)], 0)
    return share


def _noise(points: NDArray[np.intp], draws: int, seed: int) -> NDArray[np.float32]:
    """Standard normal noise [points, draws]: of a point, by its number, always the same, whatever others there are."""
    noise = np.empty((len(points), draws), np.float32)
    for number in np.unique(points // BLOCK):
        rows = points // BLOCK == number
        noise[rows] = _block_of_noise(draws, seed, int(number))[points[rows] % BLOCK]
    return noise


@lru_cache(maxsize=64)
def _block_of_noise(draws: int, seed: int, number: int) -> NDArray[np.float32]:
    return np.random.default_rng((seed, number)).standard_normal((BLOCK, draws), dtype=np.float32)


def _on_fronts(exact: Array, drawn: Array) -> NDArray[np.bool_]:
    """`on_front` of two losses, [P] the same in all draws and [P, D] drawn, for all draws at once: [P, D]."""
    order = np.argsort(exact, kind="stable")
    _, begins, group, counts = np.unique(exact[order], return_index=True, return_inverse=True, return_counts=True)
    best = np.minimum.accumulate(drawn[order], axis=0)[begins + counts - 1]  # up to each value of the exact loss
    best[1:][best[:-1] <= best[1:]] = -np.inf  # all of these are beaten by one with a smaller exact loss
    return drawn <= best[group[np.argsort(order)]]
