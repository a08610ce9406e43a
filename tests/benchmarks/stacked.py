"""A training step with one seed and with several at once, for each mixer: what `search.seeds_per_job` gains.

    python -m tests.benchmarks.stacked [--device cuda] [--seeds 8] [--out FOLDER]

at the size of the preset `gpu`, or on a CPU of `laptop`; all layers of one mixer. Writes FOLDER/stacked.md. It needs
torch and PyYAML, and Triton on a GPU, but neither Ray nor Optuna nor MLflow.
"""

import argparse
import platform
import statistics
import time
from importlib.resources import files
from pathlib import Path

import torch
import yaml

from search_space.cost.target import Target
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.layouts.reading import borrows
from search_space.mixers import MIXERS
from search_space.parts.part import Part
from search_space.scale import Proxy, Scale
from workers.suite.suite import build_suite
from workers.training import Run, Training

RESULTS = Path(__file__).parent / "results"
WARM_UP, STEPS = 5, 20


def make_run(preset: dict, mixer: str, seeds: int, device: str) -> Run:
    """A run with as many seeds, in the first of its steps."""
    training = Training(**{**preset["training"], "device": device})
    layout = Layout((Block(mixer),) * preset["space"]["layers"])
    suite = build_suite(preset["tasks"], training.length)
    scale = Scale(Target(), Proxy(**preset["proxy"]), training.length)
    return Run(scale.layout(layout), scale.sizes(suite.vocabulary), training, suite, range(seeds))


def milliseconds(run: Run) -> float:
    """Median of a training step, its batches drawn within it."""
    wait = torch.cuda.synchronize if run.weights.values.is_cuda else lambda: None
    times = []
    for _ in range(WARM_UP + STEPS):
        wait()
        begin = time.perf_counter()
        run._train_step()
        wait()
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times[WARM_UP:])


def sampling_milliseconds(run: Run) -> float:
    """Time to draw a batch of one seed."""
    begin = time.perf_counter()
    for _ in range(STEPS):
        run.suite.train_batch(run.training.batch, 0.5, run.data[0])
    return 1e3 * (time.perf_counter() - begin) / STEPS


def measure(preset: dict, mixer: str, seeds: int, device: str) -> str:
    """A row of the table."""
    alone = milliseconds(make_run(preset, mixer, 1, device))
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    together = milliseconds(make_run(preset, mixer, seeds, device))
    memory = f"{torch.cuda.max_memory_allocated() / 2**30:.1f}" if device == "cuda" else "-"
    ratio = together / alone
    return f"| {mixer} | {alone:.1f} | {together:.1f} | {ratio:.2f} | {seeds / ratio:.2f} | {memory} |"


def main() -> None:
    """Measures every mixer, and writes the table anew after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seeds", type=int, default=8)
    alone = [name for name in MIXERS.names() if not borrows(Part(name))]
    parser.add_argument("--only", nargs="*", default=alone, metavar="MIXER")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    name = "gpu" if options.device == "cuda" else "laptop"
    preset = yaml.safe_load(files("nas.config.presets").joinpath(f"{name}.yaml").read_text())
    device = torch.cuda.get_device_name() if options.device == "cuda" else f"one thread of a CPU ({platform.machine()})"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    if options.device == "cuda":
        import triton

        versions += f", Triton {triton.__version__}"
    batch = sampling_milliseconds(make_run(preset, options.only[0], 1, options.device))
    lines = [
        "# A training step of several seeds as one stack of models",
        "",
        f"Made by `python -m tests.benchmarks.stacked` on {time.strftime('%Y-%m-%d')}; {device}; {versions}. Preset "
        f"`{name}`, all {preset['space']['layers']} layers of one mixer; median of {STEPS} steps. A batch takes "
        f"{batch:.1f} ms of a step to draw, for each seed. Gain: the time of as many single runs over the stack's. "
        "Memory: the stack's peak.",
        "",
        f"| mixer | 1 seed, ms | {options.seeds} seeds, ms | ratio | gain | memory, GiB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for mixer in options.only:
        lines.append(measure(preset, mixer, options.seeds, options.device))
        print(lines[-1], flush=True)
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "stacked.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
