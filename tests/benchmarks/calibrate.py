"""Calibrates the recall suite: how hard is each level for layouts that are known, and do known facts come out?

    python -m tests.benchmarks.calibrate [--config PRESET or FILE] [--layouts NAME ...] [--tasks LABEL ...] [--seeds N]
    python -m tests.benchmarks.calibrate --ladder window [...]          (also state, convolution, count, place)

Trains named layouts with a preset, one after the other, and prints Markdown: for each task and level what trivial
strategies reach, what each layout reaches, the median, and how many layouts are at the floor or at the ceiling. A
ladder is a row of layouts whose order is known from published models. Runs are kept in a file (`--record`), one line
each, and not done again; it says how long the rest will take. `key=value` overrides the configuration.
"""

import argparse
import json
import platform
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import torch

from nas.config import Config, load
from nas.search.setup import make_job
from nas.study.ranking import kendall
from search_space.layouts.layout import Layout
from tests.benchmarks.named import LADDERS, Case, ladder, layouts
from workers.jobs import run_job
from workers.suite.trivial import LOOKUPS, UNIFORM, rescaled

RECORD = Path("runs/calibration.jsonl")
FLOOR, CEILING = 0.05, 0.95
"""Rescaled accuracies below and above say nothing about a layout."""
STRATEGIES = [UNIFORM, "frequent", "last", *(f"lookup_{n + 1}" for n in range(LOOKUPS))]


class Runs:
    """Trained cases, kept in a file.

    Args:
        record: one JSON object a line.
        source: preset or file.
        overrides: of the configuration.
        tasks: labels to keep; empty keeps all.
    """

    def __init__(self, record: Path, source: str, overrides: Sequence[str], tasks: Sequence[str]):
        self.record, self.source, self.overrides = record, source, list(overrides)
        self.drop = [f"tasks.{label}.weight=0" for label in load(source, overrides).all_tasks if label not in tasks]
        self.drop = self.drop if tasks else []
        self._configs: dict[tuple[str, ...], Config] = {}
        lines = record.read_text().splitlines() if record.exists() else []
        self.done = {each["key"]: each for each in map(json.loads, lines)}

    def config(self, case: Case | None = None) -> Config:
        """The configuration of a case."""
        own = case.overrides if case else ()
        if own not in self._configs:
            self._configs[own] = load(self.source, [*self.overrides, *self.drop, *own])
        return self._configs[own]

    def key(self, case: Case, seed: int) -> str:
        """Names a run by all that decides its numbers, the code aside."""
        c = self.config(case)
        parts = [asdict(c.proxy), asdict(c.training), asdict(c.target), c.all_tasks, case.layout, seed]
        return blake2b(json.dumps(parts, sort_keys=True, default=str).encode(), digest_size=12).hexdigest()

    def train(self, cases: Sequence[Case], seeds: int) -> None:
        """Trains what is missing."""
        wanted = [(case, seed) for seed in range(seeds) for case in cases if self.key(case, seed) not in self.done]

        def say(done: int, seconds: float, text: str) -> None:
            waiting = len(wanted) - done
            print(f"{text}about {seconds * waiting / 60:.0f} min for {waiting} runs", file=sys.stderr, flush=True)

        begin = time.monotonic()
        for number, (case, seed) in enumerate(wanted):
            job = make_job(self.config(case), 0, Layout.parse(case.layout), (seed,))
            outcome = run_job(job, lambda pace, first=not number: say(0, pace, "") if first else None)
            if outcome.error is not None:
                raise SystemExit(outcome.error)
            (result,) = outcome.results
            scores = {name: value for name, value in asdict(result).items() if name != "curves"}
            line = {"key": self.key(case, seed), "name": case.name, "layout": case.layout, **scores}
            self.done[line["key"]] = line
            self.record.parent.mkdir(parents=True, exist_ok=True)
            with self.record.open("a") as file:
                file.write(json.dumps(line) + "\n")
            text = f"{case.name}, seed {seed}: recall {result.recall:.3f} in {result.seconds:.0f} s; "
            say(number + 1, (time.monotonic() - begin) / (number + 1), text)

    def results(self, case: Case, seeds: int) -> list[dict[str, Any]]:
        """Of all seeds."""
        return [self.done[self.key(case, seed)] for seed in range(seeds)]


def mean(case: Case, runs: Runs, seeds: int, name: str) -> float:
    """Accuracy of a group or task at the end of the runs."""
    return fmean(result["accuracy"].get(name, 0.0) for result in runs.results(case, seeds))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown."""
    return [f"| {' | '.join(head)} |", "|" + " --- |" * len(head), *(f"| {' | '.join(row)} |" for row in rows), ""]


def shown(values: Sequence[float]) -> list[str]:
    """With two digits."""
    return [re.sub(r"^(-?)0\.", r"\1.", f"{value:.2f}") for value in values]


def levels(cases: Sequence[Case], runs: Runs, seeds: int) -> list[str]:
    """A row for each level of each task: trivial strategies, layouts, and how many are of use."""
    config = runs.config()
    suite, count = config.suite(), config.training.test_sequences
    floors, rows = suite.floors(count), []
    for name, strategies in suite.trivial(count).items():
        values = [mean(case, runs, seeds, name) for case in cases]
        rest = [rescaled(value, floors[name]) for value in values] if floors[name] < 1 else [0.0]
        low, high = (sum(test) / len(rest) for test in ([r < FLOOR for r in rest], [r > CEILING for r in rest]))
        figures = [*(strategies[s] for s in STRATEGIES), floors[name], *values, median(values), median(rest), low, high]
        rows.append([name, *shown(figures)])
    numbers = [str(number + 1) for number in range(len(cases))]
    ends = ["median", "rescaled", "at the floor", "at the ceiling"]
    return table(["level", *STRATEGIES, "floor", *numbers, *ends], rows)


def scores(result: dict[str, Any], config: Config, floors: dict[str, float]) -> dict[str, float]:
    """One run's recall in three ways: the mean over its evaluations, the last, and the last rescaled level by level."""
    tasks = {label: task for label, task in config.suite().tasks.items() if task.counts}
    rest = []
    for label, task in tasks.items():
        # A level that a trivial strategy solves says nothing.
        graded = [key for key in (f"{label}/{g}" for g in task.recall_groups) if floors.get(key, 1.0) < CEILING]
        rest += [fmean(max(0.0, rescaled(result["accuracy"][key], floors[key])) for key in graded)] if graded else []
    return {
        "over the run": result["recall"],
        "at the end": fmean(result["accuracy"][label] for label in tasks),
        "rescaled": fmean(rest) if rest else 0.0,
    }


def summary(cases: Sequence[Case], runs: Runs, seeds: int) -> list[str]:
    """A row for each layout: its scores and its tasks; then how far seeds agree."""
    config = runs.config()
    floors = config.suite().floors(config.training.test_sequences)
    rows, found = [], {}
    for number, case in enumerate(cases):
        each = [scores(result, config, floors) for result in runs.results(case, seeds)]
        for name in each[0]:
            found.setdefault(name, []).append([score[name] for score in each])
        spread = [stdev(column) if seeds > 1 else 0.0 for column in ([s[n] for s in each] for n in each[0])]
        means = shown([fmean(s[name] for s in each) for name in each[0]])
        own = shown([mean(case, runs, seeds, label) for label in config.suite().tasks])
        seconds = fmean(result["seconds"] for result in runs.results(case, seeds))
        cells = (f"{value} ± {error}" for value, error in zip(means, shown(spread), strict=True))
        rows.append([str(number + 1), case.name, *cells, *own, f"{seconds:.0f}"])
    lines = table(["", "layout", *found, *config.suite().tasks, "seconds"], rows)
    for name, values in found.items():
        pairs = [(i, j) for i in range(seeds) for j in range(i)]
        if pairs:
            agreement = fmean(kendall([v[i] for v in values], [v[j] for v in values]).value for i, j in pairs)
            lines += [f"Agreement of seeds (tau), recall {name}: {agreement:.2f}.", ""]
    return lines


def monotone(rows: Sequence[Sequence[Case]], runs: Runs, seeds: int) -> list[str]:
    """A verdict for each row of a ladder, by the recall at the end."""
    lines = []
    for row in rows:
        values = [[fmean(r["accuracy"][t] for t in runs.config().suite().tasks) for r in runs.results(c, seeds)]
                  for c in row]  # fmt: skip
        means = [fmean(each) for each in values]
        steps = ["<" if low < high else ">" for low, high in pairwise(means)]
        text = means and shown(means)[0] + "".join(f" {s} {v}" for s, v in zip(steps, shown(means)[1:], strict=True))
        lines += [
            f"{row[0].name} to {row[-1].name}: {text} ({'in order' if '>' not in steps else 'NOT in order'}).",
            "",
        ]
    return lines


def main() -> None:
    """Trains what is missing, and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="laptop")
    parser.add_argument("--layouts", nargs="*", default=[], help="names, or layouts in short notation")
    parser.add_argument("--tasks", nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--ladder", choices=LADDERS)
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_intermixed_args()
    runs = Runs(args.record, args.config, args.overrides, args.tasks)
    config = runs.config()
    rows = ladder(args.ladder, config) if args.ladder else [layouts(config)]
    if args.layouts:
        known = {case.name: case for row in rows for case in row}
        rows = [[known.get(name, Case(name, name)) for name in args.layouts]]
    cases = [case for row in rows for case in row]
    runs.train(cases, args.seeds)
    training = config.training
    lines = [
        f"Made by `python -m tests.benchmarks.calibrate {' '.join(sys.argv[1:])}` on {time.strftime('%Y-%m-%d')}; CPU "
        f"({platform.machine()}), one thread, torch {torch.__version__}. {training.steps} steps of {training.batch} x "
        f"{training.length} tokens, width {config.proxy.width}; means of {args.seeds} seeds, with their deviation.",
        "",
    ]
    lines += summary(cases, runs, args.seeds) + levels(cases, runs, args.seeds)
    lines += monotone(rows, runs, args.seeds) if args.ladder else []
    print("\n".join(lines))


if __name__ == "__main__":
    main()
