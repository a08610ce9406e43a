"""A training step of each mixer on a CPU: how long it takes, and what takes the time.

Run as `python -m tests.benchmarks.cpu_step` (one thread); writes tests/benchmarks/results/cpu_step.md.
"""

import platform
import time
from collections import Counter
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from nas.config import load
from nas.search.setup import make_job
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.layouts.reading import borrows
from search_space.mixers import MIXERS
from search_space.parts.part import Part
from workers.suite.suite import build_suite
from workers.training import Run

RESULTS = Path(__file__).parent / "results" / "cpu_step.md"
STEPS = 40
GROUPS = {
    "products": ("mm", "addmm", "bmm", "baddbmm"),
    "attention": ("_scaled_dot_product",),
    "convolution": ("convolution", "mkldnn"),
    "copies": ("copy_", "cat", "fill_", "zero_", "roll", "flip"),
    "views": (
        "view",
        "as_strided",
        "transpose",
        "t",
        "slice",
        "select",
        "split",
        "narrow",
        "expand",
        "unsqueeze",
        "empty",
    ),
    "optimiser": ("_fused_adamw", "lerp_", "linalg", "clamp"),
}


def make_run(layout: Layout) -> Run:
    """A run of the preset `laptop`."""
    job = make_job(load("laptop"), 0, layout, (0,))
    suite = build_suite(job.tasks, job.training.length)
    return Run(job.scale.layout(layout), job.scale.sizes(suite.vocabulary), job.training, suite, job.seeds)


def seconds(run: Run, steps: int) -> float:
    """Median of a training step."""
    times = []
    for _ in range(steps):
        begin = time.perf_counter()
        run._train_step()
        times.append(time.perf_counter() - begin)
    return sorted(times)[len(times) // 2]


def shares(run: Run) -> Counter:
    """Group of operators -> share of the time that torch spends within operators."""
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        for _ in range(5):
            run._train_step()
    found: Counter = Counter()
    for event in trace.key_averages():
        name = event.key.removeprefix("aten::")
        if event.key.startswith("aten::") and event.self_cpu_time_total > 0:
            groups = (
                group
                for group, parts in GROUPS.items()
                if any(name == part or (name.startswith(part) and len(part) > 2) for part in parts)
            )
            found[next(groups, "elementwise")] += event.self_cpu_time_total
        elif event.self_cpu_time_total > 0:
            found["autograd"] += event.self_cpu_time_total
    total = found.total()
    return Counter({group: time / total for group, time in found.items()})


def main() -> None:
    """Measures, and writes the table."""
    torch.set_num_threads(1)
    lines = [
        "# A training step on a CPU",
        "",
        f"Made by `python -m tests.benchmarks.cpu_step` on {time.strftime('%Y-%m-%d')}; one thread of a CPU "
        f"({platform.machine()}), torch {torch.__version__}. Preset `laptop`, all layers of one mixer; median of "
        f"{STEPS} steps. Shares: of the time within torch's operators, by its profiler.",
        "",
        "| mixer | ms | three largest shares |",
        "| --- | --- | --- |",
    ]
    for mixer in (name for name in MIXERS.names() if not borrows(Part(name))):
        layout = Layout(tuple(Block(mixer) for _ in range(load("laptop").space.layers)))
        run = make_run(layout)
        seconds(run, 10)
        plain = seconds(run, STEPS)
        largest = ", ".join(f"{group} {share:.0%}" for group, share in shares(run).most_common(3))
        lines.append(f"| {mixer} | {1e3 * plain:.1f} | {largest} |")
        print(lines[-1], flush=True)
        RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
