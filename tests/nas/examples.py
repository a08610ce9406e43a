"""Made-up trials and folders of searches."""

from typing import Any

from nas.config import Config
from nas.config.settings import Search
from nas.results.trials import Trial
from search_space.cost.target import Target
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from workers.training import Result

TARGET = Target(layers=6, width=512, heads=8, mlp_width=1408)


def result(seed: int = 0, recall: float = 0.5, text: float = 3.0, status: str = "complete") -> Result:
    """A run; of one that diverged there are no scores."""
    if status == "diverged":
        return Result(seed=seed, steps=3, status=status, recall=0.0)
    return Result(seed=seed, steps=8, status=status, recall=recall, loss={"text": text}, accuracy={"recall": recall})


def layout(number: int) -> Layout:
    """Another for every number up to 63."""
    return Layout(tuple(Block("attention" if number >> i & 1 else "gla") for i in range(6)))


def trial(number: int, *results: Result, **changes: Any) -> Trial:
    """A trial with the given runs; `decode_ms` and the like change one of its costs."""
    costs = {"decode_ms": 2.0, "cache_bytes": 1e9, "largest_batch": 64.0}
    costs |= {name: changes.pop(name) for name in list(changes) if name in costs}
    origin = changes.pop("origin", None)
    return Trial(number, layout(number), origin, costs, list(results) or [result()], **changes)


def config(*objectives: str) -> Config:
    """A configuration that trades the given objectives; recall and time per token where none is named."""
    return Config(target=TARGET, search=Search(objectives=list(objectives) or ["recall", "decode_ms"]))
