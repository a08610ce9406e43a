"""Efficiency objectives: what a search may trade against recall. A new one is a line here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from search_space.cost import Cost


@dataclass(frozen=True)
class Objective:
    """A figure of the cost that a search optimises.

    Args:
        of: its value.
        unit: of that value.
        direction: which way is better.
        description: what it says, in a few words.
    """

    of: Callable[[Cost], float]
    unit: str
    direction: Literal["minimize", "maximize"]
    description: str


EFFICIENCY = {
    "decode_ms": Objective(lambda c: c.decode_ms, "ms", "minimize", "decode step of the whole batch: time per token"),
    "cache_bytes": Objective(lambda c: c.cache_bytes, "bytes", "minimize", "cache and state of a sequence"),
    "prefill_ms": Objective(lambda c: c.prefill_ms, "ms", "minimize", "time to the first token of a prompt"),
    "decode_flops": Objective(lambda c: c.decode_flops, "FLOPs", "minimize", "arithmetic of a decoded token"),
    "parameters": Objective(lambda c: c.parameters, "", "minimize", "parameters of the whole model"),
    "largest_batch": Objective(lambda c: c.largest_batch, "sequences", "maximize", "sequences that fit on the device"),
}
"""Efficiency objectives by name; `decode_ms` is the default of a search."""
