"""The chunked forms against the naive recurrences, on a CPU.

Run as `python -m tests.benchmarks.kernels.chunked_vs_reference`; writes
tests/benchmarks/results/chunked_vs_reference.md.
"""

import platform
import time
from pathlib import Path

import torch
from torch.nn.functional import normalize

from kernels.delta_rule import IMPLEMENTATIONS as DELTA
from kernels.gated_scan import IMPLEMENTATIONS as SCAN
from kernels.linear_attention import IMPLEMENTATIONS as LINEAR

RESULTS = Path(__file__).parents[1] / "results" / "chunked_vs_reference.md"
REPEATS = {"reference": 5, "chunked": 15}


def milliseconds(function, inputs, repeats: int, backward: bool) -> float:
    """Best of `repeats`; gradients of every input for dense gradients of every output."""
    leaves = [x.clone().requires_grad_(backward) if isinstance(x, torch.Tensor) else x for x in inputs]
    best, weights = float("inf"), None
    for _ in range(repeats):
        begin = time.perf_counter()
        out = function(*leaves)
        outputs = out if isinstance(out, tuple) else (out,)
        if backward:
            weights = weights or [torch.randn_like(o) for o in outputs]
            torch.autograd.backward(outputs, weights)
        best = min(best, time.perf_counter() - begin)
    return 1e3 * best


def cases(batch: int, length: int, heads: int, keys: int, values: int):
    """Name -> (implementations, inputs)."""
    q, v = torch.randn(batch, length, heads, keys), torch.randn(batch, length, heads, values)
    k = normalize(torch.randn(batch, length, heads, keys), dim=-1)
    state, scalar = torch.zeros(batch, heads, keys, values), -0.3 * torch.rand(batch, length, heads)
    vector = -0.3 * torch.rand(batch, length, heads, keys)
    width, scale = heads * values, keys**-0.5
    x, decay = torch.randn(batch, length, width), -0.3 * torch.rand(batch, length, width)
    return {
        "linear attention, fixed decay": (LINEAR, (q, k, v, scalar[0, 0], state, scale)),
        "linear attention, scalar decay": (LINEAR, (q, k, v, scalar, state, scale)),
        "linear attention, vector decay": (LINEAR, (q, k, v, vector, state, scale)),
        "delta rule, scalar decay": (DELTA, (q, k, v, torch.rand(batch, length, heads), scalar, state, scale)),
        "gated scan": (SCAN, (x, decay, x[:, 0])),
    }


def main() -> None:
    """Measures, and writes the table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    lines = [
        "# Chunked forms against naive recurrences",
        "",
        f"Made by `python -m tests.benchmarks.kernels.chunked_vs_reference` on {time.strftime('%Y-%m-%d')}; one thread "
        f"of a CPU ({platform.machine()}), torch {torch.__version__}, float32; best of {REPEATS['chunked']} (naive: of "
        f"{REPEATS['reference']}), milliseconds.",
        "",
        "| operator | B, T, H, K, V | naive, both ways | chunked | ratio | naive, forward | chunked | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for sizes in ((32, 256, 2, 16, 16), (32, 256, 2, 32, 32), (32, 48, 2, 8, 16)):
        for name, (implementations, inputs) in cases(*sizes).items():
            cells = []
            for backward in (True, False):
                naive, chunked = (
                    milliseconds(implementations[kind], inputs, REPEATS[kind], backward)
                    for kind in ("reference", "chunked")
                )
                cells.append(f"{naive:.1f} | {chunked:.2f} | {naive / chunked:.1f}")
            lines.append(f"| {name} | {', '.join(map(str, sizes))} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
