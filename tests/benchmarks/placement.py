"""Where does the one attention layer go? Every place in a layout of the preset `laptop`, for several mixers around it.

Run as `python -m tests.benchmarks.placement` (two processes); writes tests/benchmarks/results/placement.md.
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
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from workers.jobs import run_job

RESULT = Path(__file__).parent / "results" / "placement.md"
MIXERS = ("hgrn", "gla", "gated_deltanet")
SEEDS = (0, 1)


def run(task: tuple[str, int, int]) -> float:
    """(mixer, place of the attention layer, seed) -> recall."""
    mixer, place, seed = task
    config = load("laptop")
    blocks = [Block(mixer)] * config.space.layers
    blocks[place] = Block("attention")
    return run_job(make_job(config, 0, Layout(tuple(blocks)), (seed,))).results[0].recall


def report(recall: np.ndarray) -> str:
    """The table; recall [mixers, places, seeds]."""
    means, error = recall.mean(2), np.sqrt(recall.var(2, ddof=1).mean() / recall.shape[2])
    rows = [(mixer, *(f"{value:.3f}" for value in row)) for mixer, row in zip(MIXERS, means, strict=True)]
    rows.append(("mean", *(f"{value:.3f}" for value in means.mean(0))))
    lines = [
        "# Where the one attention layer goes",
        "",
        f"Made by `python -m tests.benchmarks.placement` on {time.strftime('%Y-%m-%d')}; 2 CPU cores "
        f"({platform.machine()}), one thread a run, torch {torch.__version__}. Recall of six layers as in preset "
        f"`laptop`, one of them attention; mean of {recall.shape[2]} seeds, standard error of a cell {error:.3f}.",
        "",
        f"| around it | {' | '.join(f'layer {place}' for place in range(recall.shape[1]))} |",
        "|" + " --- |" * (1 + recall.shape[1]),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs all, and writes the report."""
    layers = load("laptop").space.layers
    tasks = list(product(MIXERS, range(layers), SEEDS))
    found = []
    with ProcessPoolExecutor(2) as pool:
        for task, recall in zip(tasks, pool.map(run, tasks), strict=True):
            found.append(recall)
            print(*task, f"{recall:.3f}", file=sys.stderr, flush=True)
    RESULT.write_text(report(np.array(found).reshape(len(MIXERS), layers, len(SEEDS))))


if __name__ == "__main__":
    main()
