"""What a search may trade: figures of the cost at the target, and scores of the trained proxies.

An objective says which way is better, on which scale differences count, and how it is printed; fronts, samplers,
picks, tables and figures ask it. A new one is a line here, or a dotted path or entry point (`nas.objectives`) of your
own package.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from search_space.catalogue import Catalogue, instance_of
from search_space.cost.cost import Cost


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A figure that a search makes high or low.

    Exactly one of `of_cost` and `of_run` is given.

    Args:
        description: what it says, in a few words; the label of an axis.
        better: which way is better.
        of_cost: its value from what a layout costs at the target; known exactly before training.
        of_run: its value from the result of a run (workers.training.Result); differs between seeds.
        ratio: whether differences count as ratios, as those of costs do: then scales are logarithmic.
        unit: of its values; empty where there is none.
        form: format of a value in tables, as in format(value, form).
        diverged: value of a run that diverged; only for `of_run`.
        smallest: values below it count as this much where `ratio` takes logarithms.
    """

    description: str
    better: Literal["high", "low"]
    of_cost: Callable[[Cost], float] | None = None
    of_run: Callable[[Any], float] | None = None
    ratio: bool = False
    unit: str = ""
    form: str = ".4g"
    diverged: float = 0.0
    smallest: float = 1e-12

    def __post_init__(self):
        if (self.of_cost is None) == (self.of_run is None):
            raise ValueError("an objective has either of_cost or of_run")

    @property
    def measured(self) -> bool:
        """Whether it takes training to know it."""
        return self.of_run is not None

    def losses(self, values: ArrayLike) -> NDArray[np.float64]:
        """Values on a scale on which lower is better and equal differences count alike."""
        x = np.asarray(values, dtype=np.float64)
        if self.ratio:
            x = np.log(np.maximum(x, self.smallest))
        return x if self.better == "low" else -x

    def show(self, value: float) -> str:
        """The value as tables print it, without its unit."""
        return format(value, self.form)


def _cost(of: Callable[[Cost], float], unit: str, better: Literal["high", "low"], description: str, **more: Any):
    return Objective(description=description, better=better, of_cost=of, ratio=True, unit=unit, **more)


RECALL = Objective(description="recall", better="high", of_run=lambda run: run.recall, form=".3f")
TEXT_LOSS = Objective(
    description="loss on text",
    better="low",
    of_run=lambda run: run.loss["text"],
    unit="nats",
    form=".3f",
    diverged=math.log(512),  # a uniform guess over the default vocabulary
)
DECODE_MS = _cost(lambda c: c.decode_ms, "ms", "low", "decode step of the whole batch: time per token")
CACHE_BYTES = _cost(lambda c: c.cache_bytes, "bytes", "low", "cache and state of a sequence")
PREFILL_MS = _cost(lambda c: c.prefill_ms, "ms", "low", "time to the first token of a prompt")
TRAIN_MS = _cost(lambda c: c.train_ms, "ms", "low", "time to train on a sequence")
DECODE_FLOPS = _cost(lambda c: c.decode_flops, "FLOPs", "low", "arithmetic of a decoded token")
PARAMETERS = _cost(lambda c: c.parameters, "", "low", "parameters of the whole model")
LARGEST_BATCH = _cost(
    lambda c: c.largest_batch, "sequences", "high", "sequences that fit on the device", form=".0f", smallest=0.5
)

OBJECTIVES = Catalogue(
    "objective",
    {
        name: f"search_space.cost.objectives:{name.upper()}"
        for name in (
            "recall",
            "text_loss",
            "decode_ms",
            "cache_bytes",
            "prefill_ms",
            "train_ms",
            "decode_flops",
            "parameters",
            "largest_batch",
        )
    },
    instance_of("search_space.cost.objectives:Objective"),
)
"""Objectives by name."""


def cost_objectives() -> dict[str, Callable[[Cost], float]]:
    """The objectives that follow from the cost alone: name -> value."""
    found = {name: OBJECTIVES.get(name).of_cost for name in OBJECTIVES.names()}
    return {name: of for name, of in found.items() if of is not None}
