"""A fair learning rate for each mixer: every one alone, over a range of rates, at the sizes of preset `laptop`.

Run as `python -m tests.benchmarks.rates` (two processes, resumable; half of the preset's steps); writes
tests/benchmarks/results/rates.jsonl and rates.md.
"""

import json
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from nas.config import load
from nas.search.setup import make_job
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.space.choices import SpaceConfig
from workers.jobs import run_job

RESULTS = Path(__file__).parent / "results"
RECORDS = RESULTS / "rates.jsonl"
RATES = (3.5e-3, 7e-3, 1.4e-2)
MIXERS = tuple(SpaceConfig().choices)
"""Those of the default space."""


def run(task: tuple[str, float]) -> dict:
    """(mixer, learning rate) -> the record."""
    mixer, rate = task
    steps = load("laptop").training.steps // 2
    config = load("laptop", [f"training.steps={steps}", f"training.learning_rate={rate}"])
    layout = Layout((Block(mixer),) * config.space.layers)
    (result,) = run_job(make_job(config, 0, layout, (0,))).results
    return {"mixer": mixer, "rate": rate, "steps": steps, "recall": result.recall,
            "tasks": {label: result.accuracy[label] for label in config.tasks}, "seconds": result.seconds}  # fmt: skip


def report(records: list[dict]) -> str:
    """The table of recall."""
    found = {(r["mixer"], r["rate"]): r for r in records}
    lines = [
        "# Learning rates of single mixers",
        "",
        f"Made by `python -m tests.benchmarks.rates` on {time.strftime('%Y-%m-%d')}; 2 CPU cores "
        f"({platform.machine()}), one thread a run, torch {torch.__version__}. All layers of one mixer, as in preset "
        f"`laptop` but for {records[0]['steps']} steps; one seed. Recall.",
        "",
        f"| mixer | {' | '.join(f'{rate:g}' for rate in RATES)} |",
        "|" + " --- |" * (1 + len(RATES)),
    ]
    for mixer in MIXERS:
        cells = (found.get((mixer, rate)) for rate in RATES)
        shown = (f"{r['recall']:.3f}" if r else "-" for r in cells)
        lines.append(f"| {mixer} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs what is missing, and writes the report."""
    records = [json.loads(line) for line in RECORDS.read_text().splitlines()] if RECORDS.exists() else []
    done = {(r["mixer"], r["rate"]) for r in records}
    missing = [(mixer, rate) for rate in RATES for mixer in MIXERS if (mixer, rate) not in done]
    with ProcessPoolExecutor(2) as pool, RECORDS.open("a") as file:
        for record in pool.map(run, missing):
            records.append(record)
            file.write(json.dumps(record) + "\n")
            file.flush()
            print(f"{record['mixer']} {record['rate']:g}: {record['recall']:.3f}", file=sys.stderr, flush=True)
    (RESULTS / "rates.md").write_text(report(records))


if __name__ == "__main__":
    main()
