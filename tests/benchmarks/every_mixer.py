"""Does every mixer of the catalogue learn? A stack of each, trained as the search trains.

    python -m tests.benchmarks.every_mixer [--seeds 3] [--mixers NAME ...] [--record FILE] [key=value ...]
    python -m tests.benchmarks.every_mixer --rates 0.0035 0.007 0.014 [...]

Prints Markdown: recall, the level of a task that each mixer does best at beside that level's best trivial strategy,
and how long a step takes. A mixer has to be above the strategy by three standard errors somewhere. Mixers that see a
few tokens only get one attention layer, in the middle; those that read of layers below are left out. With `--rates` it
prints recall at each of these learning rates instead, to show whether one rate is fair to all. Runs are kept in a file
and not done again, so that two processes can share the mixers out, and a third print the whole.
"""

import argparse
import math
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import torch

from nas.config import Config
from search_space.layouts.block import Block
from search_space.layouts.reading import reads
from search_space.mixers import MIXERS
from search_space.parts.part import Part
from tests.benchmarks.calibrate import Runs, shown, table
from tests.benchmarks.named import Case, stack

RECORD = Path(__file__).parent / "results" / "every_mixer.jsonl"
SHORT = ("short_conv", "hyena_se")
"""They see a few tokens, and so recall nothing by themselves."""
ERRORS = 3


def case(mixer: str, depth: int) -> Case:
    """The stack that a mixer is judged by."""
    return stack(mixer, depth, [depth // 2] if mixer in SHORT else [], name=mixer)


def alone() -> list[str]:
    """The mixers that need no other layer to read."""
    return [mixer for mixer in MIXERS.names() if not reads(Block(Part(mixer)))]


def best_level(case: Case, runs: Runs, seeds: int, floors: dict[str, float]) -> tuple[str, float, float, float]:
    """The level at which a stack is most standard errors above the best trivial strategy: its name, the accuracy, the
    strategy's, the errors.

    The error is that between seeds, or that of as many answers as there were sequences, whichever is larger.
    """
    config = runs.config()
    sequences = config.training.test_sequences
    found = []
    for label, task in config.suite().tasks.items():
        groups = [f"{label}/{group}" for group in task.recall_groups]
        for level in groups:
            values = [result["accuracy"][level] for result in runs.results(case, seeds)]
            mean = fmean(values)
            sampling = math.sqrt(max(mean * (1 - mean), 0.01) * len(groups) / sequences / seeds)
            error = max(sampling, stdev(values) / math.sqrt(seeds) if seeds > 1 else 0.0)
            found.append((level, mean, floors[level], (mean - floors[level]) / error))
    return max(found, key=lambda each: each[-1])


def row(case: Case, runs: Runs, seeds: int, floors: dict[str, float]) -> list[str]:
    """Of the table."""
    config, results = runs.config(), runs.results(case, seeds)
    recall = [result["recall"] for result in results]
    level, accuracy, floor, errors = best_level(case, runs, seeds, floors)
    spread = shown([stdev(recall)])[0] if seeds > 1 else "-"
    diverged = sum(result["status"] != "complete" for result in results)
    step = 1000 * fmean(result["seconds"] for result in results) / config.training.steps
    own = shown([fmean(result["accuracy"][label] for result in results) for label in config.suite().tasks])
    return [
        case.name + " and attention" * (case.name in SHORT),
        f"{shown([fmean(recall)])[0]} ± {spread}",
        *own,
        level,
        *shown([accuracy, floor]),
        f"{errors:.1f}" + " (too few)" * (errors < ERRORS),
        str(diverged),
        f"{step:.0f}",
    ]


def report(cases: Sequence[Case], runs: Runs, seeds: int) -> list[str]:
    """The table, and what it was made with."""
    config = runs.config()
    floors = config.suite().floors(config.training.test_sequences)
    ends = [f"{label}, end" for label in config.suite().tasks]
    head = ["mixer", "recall", *ends, "best level", "accuracy", "trivial", "errors above", "diverged"]
    rows = sorted((row(each, runs, seeds, floors) for each in cases), key=lambda cells: cells[1], reverse=True)
    return [
        *origin(config, seeds),
        *table([*head, "ms a step"], rows),
    ]


def at_rates(cases: Sequence[Case], rates: Sequence[float]) -> list[list[Case]]:
    """Each case at each learning rate."""
    return [[replace(each, overrides=(f"training.learning_rate={rate:g}",)) for rate in rates] for each in cases]


def report_rates(rows: Sequence[Sequence[Case]], rates: Sequence[float], runs: Runs, seeds: int) -> list[str]:
    """Recall of each mixer at each rate, and what the best rate would add to the recall at the configuration's."""
    config, lines = runs.config(), []
    for row in rows:
        recall = [fmean(result["recall"] for result in runs.results(each, seeds)) for each in row]
        at_own = recall[rates.index(config.training.learning_rate)]
        lines.append(
            [row[0].name, *shown(recall), f"{rates[recall.index(max(recall))]:g}", *shown([max(recall) - at_own])]
        )
    head = ["mixer", *(f"recall at {rate:g}" for rate in rates), "best", "which adds"]
    return [*origin(config, seeds), *table(head, lines)]


def origin(config: Config, seeds: int) -> list[str]:
    """What a table was made with."""
    training = config.training
    return [
        f"Made by `python -m tests.benchmarks.every_mixer {' '.join(sys.argv[1:])}` on {time.strftime('%Y-%m-%d')}; "
        f"CPU ({platform.machine()}), one thread a run, two at once, torch {torch.__version__}. Stacks of "
        f"{config.space.layers} layers, {training.steps} steps of {training.batch} x {training.length} tokens, width "
        f"{config.proxy.width}, {seeds} seeds.",
        "",
    ]


def main() -> None:
    """Trains what is missing, and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="laptop")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--mixers", nargs="*", default=[], choices=MIXERS.names(), metavar="MIXER")
    parser.add_argument("--rates", nargs="*", default=[], type=float)
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_intermixed_args()
    runs = Runs(args.record, args.config, args.overrides, [])
    cases = [case(mixer, runs.config().space.layers) for mixer in args.mixers or alone()]
    if not args.rates:
        runs.train(cases, args.seeds)
        lines = report(cases, runs, args.seeds)
    else:
        rates = sorted({*args.rates, runs.config().training.learning_rate})
        rows = at_rates(cases, rates)
        runs.train([case for row in rows for case in row], args.seeds)
        lines = report_rates(rows, rates, runs, args.seeds)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
