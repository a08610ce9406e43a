"""What the layouts of a page cost for other uses: a grid of prices, all of them the cost model's.

The page looks prices up and never works any out, so that it cannot disagree with `nas front`.
"""

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nas.config import Config
from nas.results.trials import find_objectives
from search_space.cost.cost import cost
from search_space.cost.devices import DEVICES
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.layout import Layout
from search_space.layouts.resize import resize

GRIDS = (
    ((1, 4, 16, 64, 256), (2_048, 4_096, 8_192, 16_384, 32_768, 65_536, 131_072)),
    ((1, 16, 256), (4_096, 16_384, 65_536)),
    ((), ()),
)
"""Batches and contexts beside the target's own: the first of these grids that takes no more than `MOST` prices."""
MOST = 60_000
"""Prices that are worked out for a page, in seconds."""


def price_grid(layouts: Sequence[Layout], config: Config) -> dict[str, Any]:
    """Prices of layouts in the cost objectives of a search, as plain data.

    Returns:
        `batches`, `contexts` and `devices` (the axes; the target's own among them), `here` (the target's place on
        each), and `values`: objective -> base64 of little-endian float32, [devices, batches, contexts, layouts], NaN
        where a layout cannot be priced so.
    """
    target = config.target
    objectives = {n: o for n, o in find_objectives(config.search.objectives).items() if o.of_cost is not None}
    devices = _devices(target)
    designs = [resize(layout, target.layers, target.resize) for layout in layouts]
    kinds = [frozenset(Counter(design.layers).items()) for design in designs]
    first = dict(zip(kinds, designs, strict=True))  # equal counts have equal prices
    for grid_batches, grid_contexts in GRIDS:
        batches, contexts = sorted({target.batch, *grid_batches}), sorted({target.context, *grid_contexts})
        if len(devices) * len(batches) * len(contexts) * len(first) <= MOST:
            break
    else:
        devices = devices[:1]
    grid = np.full((len(objectives), len(devices), len(batches), len(contexts), len(layouts)), np.nan, np.float32)
    for d, device in enumerate(devices):
        for b, batch in enumerate(batches):
            for c, context in enumerate(contexts):
                use = replace(target, device=device, batch=batch, context=context)
                prices = {kind: _priced(design, use, objectives) for kind, design in first.items()}
                grid[:, d, b, c, :] = np.array([prices[kind] for kind in kinds]).reshape(-1, len(objectives)).T
    return {
        "batches": batches,
        "contexts": contexts,
        "devices": [_name(target, device) for device in devices],
        "here": [0, batches.index(target.batch), contexts.index(target.context)],
        "values": {n: base64.b64encode(grid[i].tobytes()).decode() for i, n in enumerate(objectives)},
    }


def _devices(target: Target) -> list[Any]:
    """The target's own first; those of the table unless times were measured, which they were on one."""
    others = [] if target.measured is not None else [name for name in DEVICES if name != target.device]
    return [target.device, *others]


def _name(target: Target, device: Any) -> str:
    if target.measured is not None:
        return str(target.measured.about["device"])
    return device if isinstance(device, str) else "own device"


def _priced(layout: Layout, use: Target, objectives: dict[str, Any]) -> list[float]:
    try:
        price = cost(layout, use)
    except InputError:
        return [np.nan] * len(objectives)
    return [float(objective.of_cost(price)) for objective in objectives.values()]
