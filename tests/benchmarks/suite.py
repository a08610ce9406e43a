"""What the default recall suite can tell: known layouts on the laptop preset, several seeds each.

Run as `python -m tests.benchmarks.suite [seeds]` (two processes); writes tests/benchmarks/results/recall_suite.json and
recall_suite.md beside it.
"""

import json
import math
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from nas.config import load
from nas.service import make_job
from search_space.layout import Block, Layout
from search_space.mixers import MIXERS
from workers.jobs import run_job

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "tests" / "benchmarks" / "results" / "recall_suite.json"
PURE = MIXERS.names()
STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57}
"""95% quantiles of Student's t for as many seeds."""


def layouts(depth: int) -> dict[str, Layout]:
    """The layouts by name: pure ones, one attention layer at each depth, and a growing number of them."""
    found = {f"{mixer} alone": [mixer] * depth for mixer in PURE}
    for linear in ("gated_deltanet", "gla"):
        for place in range(depth):
            found[f"{linear}, attention in layer {place}"] = [
                "attention" if i == place else linear for i in range(depth)
            ]
    for linear in ("gated_deltanet", "retnet", "hgrn"):
        for count, places in {1: [3], 2: [2, 5], 3: [1, 3, 5]}.items():
            name = f"{linear}, {count} attention layers" if count > 1 else f"{linear}, 1 attention layer"
            found.setdefault(name, ["attention" if i in places else linear for i in range(depth)])
    return {name: Layout(tuple(Block(m) for m in mixers)) for name, mixers in found.items()}


def run(task):
    """(name, layout, seed) -> (name, recall, accuracies, seconds)."""
    name, layout, seed = task
    (result,) = run_job(make_job(load("laptop"), 0, layout, (seed,))).results
    return name, result.recall, result.accuracy, result.seconds


def interval(values: list[float]) -> float:
    """Half the width of the 95% interval of the mean."""
    n = len(values)
    return STUDENT.get(n, 2.0) * float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else float("nan")


def markdown(found: dict, about: dict) -> str:
    """The report."""
    names = list(found["recall"])
    parts = list(found["accuracy"][names[0]])
    lines = [
        "# Known layouts on the default recall suite",
        "",
        f"Known layouts, trained as the preset `laptop` does ({about['seeds']} seeds each, mean and 95% interval of "
        f"the mean by Student's t). Made by `python -m tests.benchmarks.suite {about['seeds']}` on {about['date']}; "
        f"{about['device']}, torch {about['torch']}; {about['seconds']:.1f} s a run on average.",
        "",
        f"| layout | recall | 95% | each seed | {' | '.join(parts)} |",
        f"| --- | --- | --- | --- | {' | '.join('---' for _ in parts)} |",
    ]
    for name in names:
        recalls, accuracy = found["recall"][name], found["accuracy"][name]
        cells = " | ".join(f"{np.mean(accuracy[part]):.2f}" for part in parts)
        seeds = " ".join(f"{r:.3f}" for r in recalls)
        lines.append(f"| {name} | {np.mean(recalls):.3f} | ±{interval(recalls):.3f} | {seeds} | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs what is missing, and writes the report."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    named = layouts(load("laptop").space.layers)
    tasks = [(name, layout, seed) for seed in range(seeds) for name, layout in named.items()]
    found: dict = {"recall": {n: [] for n in named}, "accuracy": {n: {} for n in named}}
    seconds = []
    with ProcessPoolExecutor(2) as pool:
        for done, (name, recall, accuracy, spent) in enumerate(pool.map(run, tasks), 1):
            found["recall"][name].append(recall)
            for part, value in accuracy.items():
                found["accuracy"][name].setdefault(part, []).append(value)
            seconds.append(spent)
            print(f"{done}/{len(tasks)} {name}: {recall:.3f} ({spent:.1f} s)", file=sys.stderr, flush=True)
    about = {
        "seeds": seeds,
        "date": time.strftime("%Y-%m-%d"),
        "device": f"2 CPU cores ({platform.machine()}), one thread a run",
        "torch": torch.__version__,
        "seconds": float(np.mean(seconds)),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({**about, **found}, indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text(markdown(found, about))


if __name__ == "__main__":
    main()
