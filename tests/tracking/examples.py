"""Made-up trials."""

import random
from typing import Any

from search_space.cost.objectives import OBJECTIVES, Objective
from tracking.records import TrialRecord

MIXERS = ("attention", "deltanet", "gla", "hgrn", "retnet")


def objectives(*names: str) -> dict[str, Objective]:
    """Objectives of the catalogue by name; recall and time per token where none is named."""
    return {name: OBJECTIVES.get(name) for name in names or ("recall", "decode_ms")}


def trial(number: int = 0, **changes: Any) -> TrialRecord:
    """A complete trial with two seeds; `recall`, `decode_ms` and the like change one objective."""
    values = {"recall": 0.5, "text_loss": 3.0, "decode_ms": 2.5, "cache_bytes": 1e9, "largest_batch": 64.0}
    values |= {name: changes.pop(name) for name in list(changes) if name in values}
    fields: dict[str, Any] = {
        "number": number,
        "label": "gla*3 attention",
        "layout_yaml": "layers: [gla, gla, gla, attention]\n",
        "layers": ("gla", "gla", "gla", "attention"),
        "trained": ("gla", "gla", "gla", "attention"),
        "origin": "search",
        "state": "complete",
        "seeds": (0, 1),
        "objectives": values,
        "spreads": {"recall": 0.03},
        "scores": {"accuracy/recall": 0.5},
        "curves": {"train_loss/seed_0": [(100, 3.0), (200, 2.0)]},
        "seconds": 12.0,
    }
    return TrialRecord(**(fields | changes))


def crowd(count: int, seed: int = 0) -> list[TrialRecord]:
    """Trials of which every third is published; recall and cost rise with attention, and the front is marked."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        mixer = draw.choice(MIXERS[1:])
        layers = tuple("attention" if draw.random() < 0.25 else mixer for _ in range(6))
        share = layers.count("attention") / 6
        found.append(
            trial(
                number,
                label=" ".join(layers),
                layers=layers,
                trained=layers,
                origin=f"{mixer} {number}" if number % 3 == 0 else "search",
                recall=min(1.0, 0.3 + 0.5 * share + 0.2 * draw.random()),
                decode_ms=1.0 + 15 * share + draw.random(),
            )
        )
    return [
        trial(**(vars(t) | {"on_front": not any(_beats(other, t) for other in found), "confidence": 0.8}))
        for t in found
    ]


def _beats(a: TrialRecord, b: TrialRecord) -> bool:
    recall, price = ((a.objectives[name], b.objectives[name]) for name in ("recall", "decode_ms"))
    return recall[0] > recall[1] and price[0] <= price[1]
