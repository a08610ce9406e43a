"""Puts short texts beside points of a chart so that they hide neither each other nor the points."""

from collections.abc import Sequence
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINT_RADIUS = 4.0
DISTANCES = (7.0, 17.0, 28.0)
"""From a point to its text; these and the radius in points of 1/72 inch. Beyond the first, a thin line leads back."""
SIDES = ((-1, 1), (1, -1), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1))
"""Rightwards and upwards, as signs."""
LINE_BOX = 4.0
"""Pixels that a line takes."""
OUTSIDE = 20.0
"""What it costs to leave the chart, in the area of a text."""


def place_labels(
    axes: "Axes",
    labels: Sequence[tuple[float, float, str, dict[str, Any]]],
    lines: Sequence[Sequence[tuple[float, float]]] = (),
) -> None:
    """Draws every label where it hides least; earlier ones choose first.

    Args:
        axes: with its limits and scales set, as places depend on them.
        labels: (x, y, text, text properties) of every label, in the units of the axes.
        lines: corners of every line that should stay visible, in the units of the axes.
    """
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    unit = axes.figure.dpi / 72
    frame = np.array(axes.get_window_extent(renderer).extents)
    points = axes.transData.transform(np.array([(x, y) for x, y, *_ in labels], dtype=float).reshape(-1, 2))
    radius = POINT_RADIUS * unit
    taken = [np.array([x - radius, y - radius, x + radius, y + radius]) for x, y in points]
    for line in lines:
        taken += _boxes_along(axes.transData.transform(np.array(line, dtype=float)))
    for (x, y, text, properties), point in zip(labels, points, strict=True):
        size = axes.text(0, 0, text, **properties)
        width, height = size.get_window_extent(renderer).size
        size.remove()
        best, box = min(
            ((_hidden(box, taken, frame), i), box) for i, box in enumerate(_places(point, width, height, unit))
        )
        taken.append(np.array(box))
        middle = ((box[0] + box[2]) / 2 - point[0], (box[1] + box[3]) / 2 - point[1])
        far = best[1] >= len(SIDES)
        axes.annotate(
            text,
            (x, y),
            xytext=(middle[0] / unit, middle[1] / unit),
            textcoords="offset points",
            ha="center",
            va="center",
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": "#999999", "shrinkB": 3} if far else None,
            **properties,
        )


def _boxes_along(corners: NDArray) -> list[NDArray]:
    """Small boxes that cover a line, in pixels."""
    boxes = []
    for begin, end in pairwise(corners):
        steps = max(2, int(np.abs(end - begin).max() / LINE_BOX))
        middles = begin + (end - begin) * np.linspace(0, 1, steps)[:, None]
        boxes += [np.concatenate([m - LINE_BOX / 2, m + LINE_BOX / 2]) for m in middles]
    return boxes


def _places(point: NDArray, width: float, height: float, unit: float) -> list[tuple[float, ...]]:
    """Boxes around a point, nearer ones first, and above left first, where a front leaves room."""
    boxes: list[tuple[float, ...]] = []
    for distance, (right, up) in product(DISTANCES, SIDES):
        gap = distance * unit * (0.7 if right and up else 1.0)
        left = point[0] + (right - 1) * width / 2 + right * gap
        low = point[1] + (up - 1) * height / 2 + up * gap
        boxes.append((left, low, left + width, low + height))
    return boxes


def _hidden(box: tuple[float, ...], taken: Sequence[NDArray], frame: NDArray) -> float:
    """Area of `box` that others cover, and a fine where it leaves the frame."""
    left, low, right, high = box
    others = np.stack(taken)
    wide = np.minimum(right, others[:, 2]) - np.maximum(left, others[:, 0])
    tall = np.minimum(high, others[:, 3]) - np.maximum(low, others[:, 1])
    covered = float((wide.clip(0) * tall.clip(0)).sum())
    inside = left >= frame[0] and low >= frame[1] and right <= frame[2] and high <= frame[3]
    return covered + (0.0 if inside else OUTSIDE * (right - left) * (high - low))
