"""Fronts of two objectives: a cost to be low and a recall to be high.

Shapes: P points; arrays are float64.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def on_front(cost: Array, recall: Array) -> NDArray[np.bool_]:
    """Which of P points no other point beats: [P], [P] -> [P] bool.

    A point is beaten by one that is at least as good in both objectives and better in one. Of equal points all stay.
    """
    order = np.lexsort((-recall, cost))
    cost, recall = cost[order], recall[order]
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(recall)[:-1]])
    first = np.concatenate([[True], (np.diff(cost) != 0) | (np.diff(recall) != 0)])
    # Equal points follow each other, and share the fate of the first of them.
    kept = (recall > best_before)[np.maximum.accumulate(np.where(first, np.arange(len(cost)), 0))]
    mask = np.empty(len(cost), dtype=bool)
    mask[order] = kept
    return mask


def hypervolume(cost: Array, recall: Array, reference: tuple[float, float]) -> float:
    """Area that the points dominate, up to `reference` = (highest cost, lowest recall) that counts."""
    inside = (cost < reference[0]) & (recall > reference[1])
    cost, recall = cost[inside], recall[inside]
    order = np.argsort(cost, kind="stable")
    heights = np.maximum.accumulate(recall[order]) if len(order) else recall
    widths = np.diff(np.append(cost[order], reference[0]))
    return float(np.sum(widths * (heights - reference[1])))


def hypervolume_gain(
    cost: Array, recall: Array, front_cost: Array, front_recall: Array, reference: tuple[float, float]
) -> Array:
    """What each of P points would add to the hypervolume of a front, alone: [P]."""
    order = np.argsort(front_cost, kind="stable")
    edges = np.concatenate([[-np.inf], front_cost[order], [reference[0]]])
    heights = np.concatenate([[reference[1]], np.maximum.accumulate(front_recall[order])])
    heights = np.maximum(heights, reference[1])
    # Segment i of the front spans edges[i] .. edges[i + 1] at heights[i].
    left = np.maximum(edges[None, :-1], cost[:, None])
    width = np.clip(np.minimum(edges[None, 1:], reference[0]) - left, 0, None)
    return np.sum(width * np.clip(recall[:, None] - heights[None], 0, None), axis=1)


def knee(cost: Array, recall: Array) -> int:
    """Index of the point of a front with the best trade: farthest above the line between the front's ends.

    Cost is taken on a log scale, as differences between layouts are ratios.
    """
    x, y = np.log(np.maximum(cost, 1e-12)), recall
    span_x, span_y = np.ptp(x) or 1.0, np.ptp(y) or 1.0
    return int(np.argmax((y - y.min()) / span_y - (x - x.min()) / span_x))


def front_probability(cost: Array, recall: Array, error: Array, draws: int = 400, seed: int = 0) -> Array:
    """Share of draws recall ~ N(recall, error^2) in which each point is on the front: [P]."""
    generator = np.random.default_rng(seed)
    count = np.zeros(len(cost))
    for _ in range(draws):
        count += on_front(cost, recall + error * generator.standard_normal(len(cost)))
    return count / draws
