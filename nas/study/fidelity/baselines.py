"""What one can say of two layouts without training anything: the more attention, state, parameters or cost, the better.

All are figures of the layout as published, for the model that it was published for.
"""

from functools import lru_cache

from nas.study.fidelity.source import Model
from search_space.cost.cost import block_costs, cost
from search_space.cost.target import Target
from search_space.layouts.layout import Layout

BASELINES = {
    "attention count": "layers that see the whole context",
    "state bytes": "bytes of cache and state of a sequence",
    "parameters": "parameters of the model",
    "decode_ms": "time per token",
}
"""Baseline -> what it counts; more is taken for better."""
TIE = 1e-9
"""Figures that differ by a smaller share are equal: sums of floats, in another order."""


@lru_cache(maxsize=10_000)
def baselines_of(text: str, model: Model) -> dict[str, float]:
    """Values of the baselines.

    Args:
        text: a layout in short.
        model: that it was published for.
    """
    layout, target = Layout.parse(text), model.target
    price = cost(layout, target)
    full = {block: _sees_all(block, target) for block in set(layout.layers)}
    values = (sum(full[block] for block in layout.layers), price.cache_bytes, price.parameters, price.decode_ms)
    return {name: float(value) for name, value in zip(BASELINES, values, strict=True)}


def _sees_all(block, target: Target) -> bool:
    """Whether a layer keeps every token of the context, or reads them where one below does: attention, and windows that
    are as long."""
    caches = [cache for part in block_costs(block, target).values() for cache in part.caches]
    return any(cache.kept(target.context) == target.context for cache in caches)


def verdict(a: float, b: float) -> float:
    """1 where a baseline has `a` above `b`, 0 where below, 1/2 where they are equal."""
    if abs(a - b) <= TIE * max(abs(a), abs(b)):
        return 0.5
    return float(a > b)
