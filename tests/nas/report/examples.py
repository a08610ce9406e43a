"""Searches that were never trained."""

import random

from nas.config import Config, load
from nas.results.records import RunRecord
from nas.search.setup import check, trials_of
from search_space.layouts.published import Origin
from workers.training import Result


def made_up(count: int, preset: str = "smoke", overrides=(), seed: int = 0) -> tuple[Config, list[RunRecord]]:
    """A search of so many layouts; recall rises with attention, and the more the later it stands.

    The first is published. Every third has two seeds.
    """
    config = load(preset, overrides)
    space, draw = check(config), random.Random(seed)
    layouts = list(dict.fromkeys(space.sample(draw) for _ in range(3 * count)))[:count]
    records = []
    for number, layout in enumerate(layouts):
        where = [place for place, block in enumerate(layout.layers) if block.mixer and block.mixer.kind == "attention"]
        worth = 0.2 + 0.3 * bool(where) + 0.3 * max(where, default=0) / len(layout.layers)
        for run in range(2 if number % 3 == 0 else 1):
            recall = min(1.0, worth + draw.gauss(0, 0.02))
            steps = [config.training.steps * i // 10 for i in range(1, 11)]
            curves = {name: [(step, recall * step / steps[-1]) for step in steps] for name in ("recall", "train_loss")}
            scores = {"recall/pairs_2": recall, "recall/pairs_4": recall / 2, "recall": 0.75 * recall}
            done = Result(
                seed=run, steps=steps[-1], status="complete", recall=recall, accuracy=scores, loss=scores,
                curves=curves, seconds=2.0,
            )  # fmt: skip
            origin = Origin("GLA <i>&amp;", layout) if number == 0 else None
            elapsed = float(len(records))
            record = RunRecord(trial=number, origin=origin, layout=layout, seed=run, elapsed=elapsed, result=done)
            records.append(record)
    return config, records


def page_of(config: Config, records: list[RunRecord], audit: str | None = None):
    """The trials, and the page."""
    from nas.report import report_page

    trials = trials_of(records, config)
    return trials, report_page(trials, records, config, audit)
