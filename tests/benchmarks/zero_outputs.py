"""Proxies whose output projections start at zero, against ones that draw them as torch does.

Run as `python -m tests.benchmarks.zero_outputs [seeds]` (two processes); writes
tests/benchmarks/results/zero_outputs.md. The preset is `laptop`.
"""

import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import fmean, stdev

import torch

from nas.config import load
from search_space.layouts.layout import Layout
from workers.training import train

RESULTS = Path(__file__).parent / "results" / "zero_outputs.md"
LAYOUTS = ("attention*6", "gla*3 attention gla*2", "gated_deltanet*6", "hgrn2*3 attention hgrn2*2")


def measure(case: tuple[str, bool, int]) -> tuple[float, float]:
    """Recall, and mean loss over the training, of one run."""
    text, zero, seed = case
    torch.set_num_threads(1)
    config = load("laptop")
    suite = config.suite()
    sizes = replace(config.scale.sizes(suite.vocabulary), zero_outputs=zero)
    (result,), _ = train(config.scale.layout(Layout.parse(text)), sizes, config.training, suite, (seed,))
    return result.recall, fmean(loss for _, loss in result.curves["train_loss"])


def table(found: dict[tuple[str, bool, int], tuple[float, float]], seeds: int) -> str:
    """Markdown."""
    lines = [
        "# Output projections that start at zero",
        "",
        f"Made by `python -m tests.benchmarks.zero_outputs {seeds}` on {time.strftime('%Y-%m-%d')}; CPU "
        f"({platform.machine()}), torch {torch.__version__}, preset `laptop`, {seeds} seeds: mean and deviation. "
        "Loss: mean over the training.",
        "",
        "| layout | recall, zero | recall, drawn | loss, zero | loss, drawn |",
        "| --- | --- | --- | --- | --- |",
    ]
    for text in LAYOUTS:
        cells = []
        for figure, zero in product((0, 1), (True, False)):
            values = [found[text, zero, seed][figure] for seed in range(seeds)]
            cells.append(f"{fmean(values):.3f} ± {stdev(values):.3f}")
        lines.append(f"| {text} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs all, and writes the table."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    cases = list(product(LAYOUTS, (True, False), range(seeds)))
    with ProcessPoolExecutor(2) as pool:
        found = dict(zip(cases, pool.map(measure, cases), strict=True))
    RESULTS.write_text(table(found, seeds))
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
