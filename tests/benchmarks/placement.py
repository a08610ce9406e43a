"""Where does the one attention layer of a deep stack go? Recall with it in several places, and without.

    python -m tests.benchmarks.placement [seeds]

Two processes; writes tests/benchmarks/results/placement.md. The preset is `laptop`, the stacks have 24 layers.
"""

import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import torch

from nas.config import load
from nas.search.setup import make_job
from search_space.layouts.layout import Layout
from tests.benchmarks.named import stack
from workers.jobs import run_job

RESULT = Path(__file__).parent / "results" / "placement.md"
MIXERS = ("gated_deltanet", "gla", "mamba2")
LAYERS = 24
PLACES = {"none": [], "index 0": [0], "first fifth": [2], "middle": [12], "last fifth": [21]}
"""Indices of attention in a stack of LAYERS."""


def run(task: tuple[str, str, int]) -> float:
    """(mixer, place, seed) -> recall."""
    mixer, place, seed = task
    layout = Layout.parse(stack(mixer, LAYERS, PLACES[place]).layout)
    return run_job(make_job(load("laptop"), 0, layout, (seed,))).results[0].recall


def report(recall: np.ndarray) -> str:
    """The table; recall [mixers, places, seeds]."""
    seeds = recall.shape[2]
    error = f", standard error of a cell {np.sqrt(recall.var(2, ddof=1).mean() / seeds):.3f}" if seeds > 1 else ""
    lines = [
        "# Where the one attention layer goes",
        "",
        f"Made by `python -m tests.benchmarks.placement {seeds}` on {time.strftime('%Y-%m-%d')}; 2 CPU cores "
        f"({platform.machine()}), one thread a run, torch {torch.__version__}. Recall of {LAYERS} layers trained as in "
        f"preset `laptop`; mean of {seeds} seeds{error}.",
        "",
        f"| around it | {' | '.join(f'{name} {places}' if places else name for name, places in PLACES.items())} |",
        "|" + " --- |" * (1 + len(PLACES)),
    ]
    for mixer, row in zip(MIXERS, recall.mean(2), strict=True):
        lines.append(f"| {mixer} | {' | '.join(f'{value:.3f}' for value in row)} |")
    return "\n".join(lines) + "\n"


def main(seeds: int) -> None:
    """Runs all, and writes the report."""
    tasks = list(product(MIXERS, PLACES, range(seeds)))
    found = []
    with ProcessPoolExecutor(2) as pool:
        for task, recall in zip(tasks, pool.map(run, tasks), strict=True):
            found.append(recall)
            print(*task, f"{recall:.3f}", file=sys.stderr, flush=True)
    RESULT.write_text(report(np.array(found).reshape(len(MIXERS), len(PLACES), seeds)))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
