"""Made-up trials."""

import random
from typing import Any

from tracking.records import TrialRecord

MIXERS = ("attention", "deltanet", "gla", "hgrn", "retnet")


def trial(number: int = 0, **changes: Any) -> TrialRecord:
    """A complete trial with two seeds."""
    fields: dict[str, Any] = {
        "number": number,
        "label": "gla*3 attention",
        "layout_yaml": "layers: [gla, gla, gla, attention]\n",
        "layers": ("gla", "gla", "gla", "attention"),
        "origin": "search",
        "state": "complete",
        "recall": 0.5,
        "recall_spread": 0.03,
        "seeds": (0, 1),
        "efficiency": {"decode_ms": 2.5, "cache_bytes": 1e9},
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
                origin=f"{mixer} {number}" if number % 3 == 0 else "search",
                recall=min(1.0, 0.3 + 0.5 * share + 0.2 * draw.random()),
                efficiency={"decode_ms": 1.0 + 15 * share + draw.random()},
            )
        )
    return [
        trial(**(vars(t) | {"on_front": not any(_beats(other, t) for other in found), "confidence": 0.8}))
        for t in found
    ]


def _beats(a: TrialRecord, b: TrialRecord) -> bool:
    return a.recall > b.recall and a.efficiency["decode_ms"] <= b.efficiency["decode_ms"]
