"""Samplers compared on made-up but layout-like recalls, with the noise and the budget of a laptop search.

Run as `python -m tests.benchmarks.samplers [seeds]`; writes tests/benchmarks/results/samplers.md. Each problem draws
its own worth of every mixer at every depth, gains from neighbours, and a first attention layer that counts most, but
not in layer 0. A search sees recall with noise; what counts is the true hypervolume of the front that it would report.
"""

import math
import platform
import random
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import optuna

from nas.results.pareto import hypervolume, on_front
from nas.search.proposer import Proposer
from nas.search.samplers import SAMPLERS
from search_space.cost.cost import cost
from search_space.cost.target import Target
from search_space.layouts.layout import Layout
from search_space.space.choices import SpaceConfig
from search_space.space.space import Space

RESULTS = Path(__file__).parent / "results" / "samplers.md"
TARGET = Target()
NOISE = 0.05
BUDGETS = (40, 80, 160)
REFERENCE = np.array([0.0, math.log(20.0)])
"""Losses up to which the hypervolume counts: no recall at all, 20 ms."""


class Problem:
    """A recall that depends on which mixers, where, and next to what."""

    def __init__(self, seed: int, depth: int):
        self.space = Space(SpaceConfig(layers=depth), TARGET)
        generator = np.random.default_rng(seed)
        mixers = self.space.decisions[0].choices
        base = {m: generator.uniform(0.0, 0.5) for m in mixers} | {"attention": 0.55, "gated_attention": 0.55}
        self.worth = {(m, i): base[m] + generator.normal(0, 0.1) for m in mixers for i in range(depth)}
        self.pair = {(a, b): generator.normal(0, 0.08) for a in mixers for b in mixers}

    def recall(self, layout: Layout) -> float:
        """In [0, 1], without noise."""
        names = [block.mixer.kind for block in layout.layers]
        depth = len(names)
        attention = [i for i, n in enumerate(names) if "attention" in n and i > 0]
        score = sum(self.worth[n, i] for i, n in enumerate(names)) / depth
        score += sum(self.pair[a, b] for a, b in pairwise(names)) / math.sqrt(depth)
        score += 0.45 * (1 - math.exp(-1.5 * len(attention))) - (0.1 if names[0] == "attention" else 0.0)
        return 1 / (1 + math.exp(-6 * (score - 0.5)))


@cache
def costs(layout: Layout) -> dict[str, float]:
    """Decode milliseconds."""
    return {"decode_ms": cost(layout, TARGET).decode_ms}


def losses(recalls: Mapping[Layout, float]) -> np.ndarray:
    """[layouts, 2]: recall and decode time, lower is better."""
    return np.array([(-recall, math.log(costs(layout)["decode_ms"])) for layout, recall in recalls.items()])


def search(task: tuple[str, int, int]) -> list[float]:
    """True hypervolume of the reported front after each of BUDGETS layouts, two at a time as two cores do."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler, seed, depth = task
    problem, noise = Problem(seed, depth), random.Random(seed)
    proposer = Proposer(problem.space, ["recall", "decode_ms"], costs, sampler, seed)
    seen: dict[Layout, float] = {}
    found = []
    for count in range(2, max(BUDGETS) + 1, 2):
        batch: list[Layout] = []
        for _ in range(2):
            layout = proposer.propose([*seen, *batch])
            assert layout is not None
            batch.append(layout)
        for layout in batch:
            seen[layout] = min(1.0, max(0.0, problem.recall(layout) + noise.gauss(0, NOISE)))
            proposer.tell(layout, {"recall": seen[layout]})
        if count in BUDGETS:
            true = losses({layout: problem.recall(layout) for layout in seen})
            found.append(hypervolume(true[on_front(losses(seen))], REFERENCE))
    return found


def main() -> None:
    """Runs all, and writes the table."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    lines = [
        "# Samplers on simulated searches",
        "",
        f"True hypervolume of the reported front (log decode time up to 20 ms x recall), mean and 95% interval "
        f"over {seeds} problems; single noisy runs (standard deviation {NOISE}), two at a time. Made by `python -m "
        f"tests.benchmarks.samplers {seeds}` on {time.strftime('%Y-%m-%d')}, {platform.machine()}, optuna "
        f"{optuna.__version__}. The last column counts problems on which a sampler ends above random search.",
        "",
        f"| layers | sampler | {' | '.join(f'{b} layouts' for b in BUDGETS)} | above random | s a search |",
        f"| --- | --- | {' | '.join('---' for _ in BUDGETS)} | --- | --- |",
    ]
    for depth in (6, 12):
        results, spent = {}, {}
        for sampler in SAMPLERS.names():
            begin = time.perf_counter()
            with ProcessPoolExecutor(2) as pool:
                results[sampler] = np.array(list(pool.map(search, [(sampler, s, depth) for s in range(seeds)])))
            spent[sampler] = (time.perf_counter() - begin) * 2 / seeds
            print(
                sampler,
                depth,
                results[sampler].mean(0).round(3),
                f"{spent[sampler]:.1f} s",
                file=sys.stderr,
                flush=True,
            )
        for sampler in SAMPLERS.names():
            volumes = results[sampler]
            half = 1.96 * volumes.std(0, ddof=1) / math.sqrt(seeds)
            cells = " | ".join(f"{m:.3f} ± {h:.3f}" for m, h in zip(volumes.mean(0), half, strict=True))
            above = int((volumes[:, -1] > results["random"][:, -1]).sum())
            lines.append(f"| {depth} | {sampler} | {cells} | {above}/{seeds} | {spent[sampler]:.1f} |")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
