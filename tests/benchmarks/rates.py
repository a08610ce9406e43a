"""A fair learning rate for each mixer: every one alone, over a range of rates, at the sizes of preset `study`.

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
from nas.search.service import make_job
from NOPE import MIXERS

from nas.config import load
from search_space.layouts.layout import Block, Layout
from workers.jobs import run_job

RESULTS = Path(__file__).parent / "results"
RECORDS = RESULTS / "rates.jsonl"
RATES = (3e-3, 6e-3, 1.2e-2)
ALONE = (*MIXERS, "attention")


def run(task: tuple[str, float]) -> dict:
    """(mixer, learning rate) -> the record."""
    mixer, rate = task
    steps = load("study").training.steps // 2
    config = load("study", [f"training.steps={steps}", f"training.learning_rate={rate}"])
    layout = Layout((Block(mixer),) * config.space.layers)
    (result,) = run_job(make_job(config, 0, layout, (0,))).results
    return {"mixer": mixer, "rate": rate, "steps": steps, "recall": result.recall,
            "tasks": {label: result.accuracy[label] for label in config.tasks},
            "text_loss": result.loss["text"], "seconds": result.seconds}  # fmt: skip


def report(records: list[dict]) -> str:
    """The table: recall, and the loss on text below."""
    found = {(r["mixer"], r["rate"]): r for r in records}
    lines = [
        "# Learning rates of single mixers",
        "",
        f"Made by `python -m tests.benchmarks.rates` on {time.strftime('%Y-%m-%d')}; 2 CPU cores "
        f"({platform.machine()}), one thread a run, torch {torch.__version__}. All layers of one mixer, as in preset "
        f"`study` but for {records[0]['steps']} steps; one seed. Recall / loss on text in nats.",
        "",
        f"| mixer | {' | '.join(f'{rate:g}' for rate in RATES)} |",
        "|" + " --- |" * (1 + len(RATES)),
    ]
    for mixer in ALONE:
        cells = (found.get((mixer, rate)) for rate in RATES)
        shown = (f"{r['recall']:.3f} / {r['text_loss']:.2f}" if r else "-" for r in cells)
        lines.append(f"| {mixer} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs what is missing, and writes the report."""
    records = [json.loads(line) for line in RECORDS.read_text().splitlines()] if RECORDS.exists() else []
    done = {(r["mixer"], r["rate"]) for r in records}
    missing = [(mixer, rate) for rate in RATES for mixer in ALONE if (mixer, rate) not in done]
    with ProcessPoolExecutor(2) as pool, RECORDS.open("a") as file:
        for record in pool.map(run, missing):
            records.append(record)
            file.write(json.dumps(record) + "\n")
            file.flush()
            print(f"{record['mixer']} {record['rate']:g}: {record['recall']:.3f}", file=sys.stderr, flush=True)
    (RESULTS / "rates.md").write_text(report(records))


if __name__ == "__main__":
    main()
