"""Does the ranking of layouts survive other seeds, rates, initial values, depths, lengths of training and precisions?

Run as `python -m tests.benchmarks.robustness` (two processes, resumable); writes
tests/benchmarks/results/robustness.jsonl and robustness.md. Every variant trains the same layouts, drawn from the space
of the preset `laptop`, and is compared with the preset by Kendall's tau.
"""

import json
import platform
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from nas.config import load
from nas.search.setup import make_job
from nas.study.ranking import kendall
from search_space.layouts.layout import Layout
from search_space.layouts.resize import resize
from search_space.space.space import Space
from workers.jobs import run_job

RESULTS = Path(__file__).parent / "results"
RECORDS = RESULTS / "robustness.jsonl"
LAYOUTS = 16
SEEDS = (0, 1)
VARIANTS = {
    "preset": (),
    "half the learning rate": ("training.learning_rate={half}",),
    "twice the learning rate": ("training.learning_rate={twice}",),
    "initial embeddings twice as large": ("proxy.embedding_std=0.6",),
    "half the steps": ("training.steps={half_steps}",),
    "twice the steps": ("training.steps={twice_steps}",),
    "twice the layers": ("space.layers=12",),
    "bf16": ("training.precision=bf16",),
}


def overrides(variant: str) -> list[str]:
    """What the variant changes in the preset."""
    training = load("laptop").training
    values = {
        "half": training.learning_rate / 2,
        "twice": training.learning_rate * 2,
        "half_steps": training.steps // 2,
        "twice_steps": training.steps * 2,
    }
    return [change.format(**values) for change in VARIANTS[variant]]


def layouts() -> list[Layout]:
    """Layouts at random from the space of the preset, the same at every call."""
    config = load("laptop")
    space, draws = Space(config.space, config.target), random.Random(0)
    found: dict[Layout, None] = {}
    while len(found) < LAYOUTS:
        found.setdefault(space.sample(draws))
    return list(found)


def tasks() -> Iterator[tuple[str, tuple[str, ...], str, int]]:
    """(variant, changes, layout as YAML, seed) of all runs."""
    for seed in SEEDS:
        for variant in VARIANTS:
            if variant == "preset" or seed == SEEDS[0]:
                for layout in layouts():
                    yield variant, tuple(overrides(variant)), layout.to_yaml(), seed


def run(task: tuple[str, tuple[str, ...], str, int]) -> dict:
    """Trains one layout; the record."""
    variant, changes, text, seed = task
    config = load("laptop", changes)
    layout = resize(Layout.from_yaml(text), config.space.layers)
    (result,) = run_job(make_job(config, 0, layout, (seed,))).results
    tasks = {label: float(np.mean([v for _, v in result.curves[f"recall/{label}"]])) for label in config.tasks}
    return {"variant": variant, "layout": text, "seed": seed, "recall": result.recall, "tasks": tasks,
            "seconds": result.seconds}  # fmt: skip


def read() -> list[dict]:
    """What was run so far."""
    return [json.loads(line) for line in RECORDS.read_text().splitlines()] if RECORDS.exists() else []


def report(records: list[dict]) -> str:
    """The tables."""
    config = load("laptop")
    scores = {(r["variant"], r["layout"], r["seed"]): r for r in records}
    texts = [layout.to_yaml() for layout in layouts()]
    first, second = ([scores["preset", t, s]["recall"] for t in texts] for s in SEEDS)
    base = np.mean([first, second], 0)
    top = base >= np.median(base)
    lines = [
        "# Does the ranking survive?",
        "",
        f"Made by `python -m tests.benchmarks.robustness` on {time.strftime('%Y-%m-%d')}; 2 CPU cores "
        f"({platform.machine()}), one thread a run, torch {torch.__version__}. Kendall's tau over {LAYOUTS} layouts "
        f"drawn from the space of the preset `laptop` ({config.training.steps} steps), with 95% bootstrap intervals; "
        "the better half is that by the mean of the preset's two seeds.",
        "",
        "| compared | all | the better half | mean recall |",
        "| --- | --- | --- | --- |",
        f"| the preset's two seeds with each other | {kendall(first, second)} | "
        f"{kendall(np.array(first)[top], np.array(second)[top])} | {base.mean():.3f} |",
    ]
    for variant in list(VARIANTS)[1:]:
        found = np.array([scores[variant, t, SEEDS[0]]["recall"] for t in texts if (variant, t, SEEDS[0]) in scores])
        if len(found) == len(texts):
            lines.append(
                f"| {variant}, one seed, with the preset's other seed | {kendall(found, second)} | "
                f"{kendall(found[top], np.array(second)[top])} | {found.mean():.3f} |"
            )
    lines += ["", "Of single tasks, between the preset's two seeds:", "", "| task | all | the better half |"]
    lines.append("| --- | --- | --- |")
    for task in config.tasks:
        one, other = (np.array([scores["preset", t, s]["tasks"][task] for t in texts]) for s in SEEDS)
        lines.append(f"| {task} | {kendall(one, other)} | {kendall(one[top], other[top])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs what is missing, and writes the report."""
    done = {(r["variant"], r["layout"], r["seed"]) for r in read()}
    missing = [task for task in tasks() if (task[0], task[2], task[3]) not in done]
    with ProcessPoolExecutor(2) as pool, RECORDS.open("a") as file:
        for count, record in enumerate(pool.map(run, missing), 1):
            file.write(json.dumps(record) + "\n")
            file.flush()
            print(f"{count}/{len(missing)} {record['variant']}: {record['recall']:.3f}", file=sys.stderr, flush=True)
    (RESULTS / "robustness.md").write_text(report(read()))


if __name__ == "__main__":
    main()
