"""A proxy with one layer of each mixer, trained in fp32 on a CPU and in bf16 on a GPU: the loss should be the same.

    python -m tests.benchmarks.mixed_proxy [--precision bf16] [--out FOLDER]

trains it on the device that is there (a GPU if there is one), in the precision that is usual there or the one given. It
adds the losses to FOLDER/mixed_proxy.json; the table beside it compares all devices so far. On a CPU it runs in plain
torch, on a GPU on the Triton kernels.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import torch

from search_space.cost.target import Target
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.scale import Proxy, Scale
from workers.suite.suite import build_suite
from workers.training import Training, train

RESULTS = Path(__file__).parent / "results"
LAYERS = (
    "gated_deltanet", "attention", "gla", "hgrn", "sliding_window", "hgrn2", "deltanet", "gated_attention", "retnet",
)  # fmt: skip
PROXY = Proxy(width=64, heads=2, state=1024)
TRAINING = Training(length=128, steps=160, batch=32, learning_rate=5e-3)
TASKS = {"recall": {"keys": 32, "values": 32, "pairs": [8, 16, 32]}}
SEEDS = 3


def measure(precision: str) -> dict:
    """Mean loss over the training, recall and seconds for each seed."""
    training = replace(TRAINING, precision=precision)
    suite = build_suite(TASKS, TRAINING.length)
    scale = Scale(Target(), PROXY, TRAINING.length)
    layout = scale.layout(Layout(tuple(Block(name) for name in LAYERS)))
    found: dict[str, list[float]] = {"loss": [], "recall": [], "seconds": []}
    for seed in range(SEEDS):
        (result,), _ = train(layout, scale.sizes(suite.vocabulary), training, suite, (seed,))
        found["loss"].append(mean(loss for _, loss in result.curves["train_loss"]))
        found["recall"].append(result.recall)
        found["seconds"].append(result.seconds)
        print(
            f"seed {seed}: loss {found['loss'][-1]:.4f}, recall {result.recall:.3f}, {result.seconds:.0f} s", flush=True
        )
    return found


def table(found: dict[str, dict]) -> str:
    """Markdown."""
    lines = [
        "# One proxy with every mixer, by device",
        "",
        f"Made by `python -m tests.benchmarks.mixed_proxy` on each device. Layers {', '.join(LAYERS)}; width "
        f"{PROXY.width}, {TRAINING.length} tokens, {TRAINING.steps} steps of {TRAINING.batch}; {SEEDS} seeds, mean and "
        "standard deviation. Loss: mean over the training.",
        "",
        "| device | precision | loss | each seed | recall | seconds a run |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for rows in found.values():
        seeds = " ".join(f"{x:.4f}" for x in rows["loss"])
        lines.append(
            f"| {rows['device']} | {rows['precision']} | {mean(rows['loss']):.4f} ± {stdev(rows['loss']):.4f} "
            f"| {seeds} | {mean(rows['recall']):.3f} ± {stdev(rows['recall']):.3f} | {mean(rows['seconds']):.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Trains on this machine's device and writes both files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--precision", choices=["bf16", "fp32"])
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    gpu = torch.cuda.is_available()
    path = options.out / "mixed_proxy.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    device = torch.cuda.get_device_name() if gpu else "CPU, one thread"
    precision = options.precision or ("bf16" if gpu else "fp32")
    about = {"device": device, "precision": precision, "torch": torch.__version__, "date": time.strftime("%Y-%m-%d")}
    found[f"{device}, {precision}"] = {**about, **measure(precision)}
    path.write_text(json.dumps(found, indent=1) + "\n")
    path.with_suffix(".md").write_text(table(found))
    print(table(found))


if __name__ == "__main__":
    main()
