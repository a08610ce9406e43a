"""The benchmark itself, at toy sizes on a CPU: what is compared computes the same, and a failing peer is a result."""

import pytest
import torch

pytest.importorskip("fla")

from tests.benchmarks.kernels import gpu as benchmark


@pytest.fixture
def toys(monkeypatch):
    monkeypatch.setattr(benchmark, "DEVICE", "cpu")
    monkeypatch.setattr(benchmark, "DTYPE", torch.float32)
    monkeypatch.setattr(benchmark, "TOKENS", 64)
    monkeypatch.setattr(benchmark, "DECODED", 2)
    monkeypatch.setattr(benchmark, "milliseconds", lambda *_: 1.0)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    cases = [
        *(case for by in ("vector", "scalar", "fixed") for case in benchmark.linear(by, "toy", 2, 8, 16, by, 0.1)),
        *(case for by in (None, "scalar", "vector") for case in benchmark.delta(f"delta {by}", "toy", 2, 8, 16, by)),
        *benchmark.scan("toy", 16),
        *benchmark.modes("toy", 16, 4),
        *benchmark.convolution("toy", 32, 8),
        *benchmark.attention("toy", 2, 8, None),
        *benchmark.attention("toy", 2, 8, 8),
        *benchmark.masked("toy", 2, 8, 8),
    ]
    monkeypatch.setattr(benchmark, "cases", lambda: cases)
    return cases


def test_every_case_is_measured(toys):
    rows = [benchmark.measure(case, 32) for case in toys]
    assert all(row["ours_error"] < 1e-4 for row in rows)
    assert all(row["plain_error"] < 1e-4 for row in rows if "plain" in row and "plain_failed" not in row)
    assert any("peer_failed" in row for row in rows)  # its kernels do not run on a CPU
    about = dict.fromkeys(["device", "torch", "triton", "fla", "commit", "command"], "?")
    table = benchmark.table(rows, about | {"flops": 1e15, "bandwidth": 1e12})
    assert table.count("| toy |") == len(toys) and "failed" in table


def test_work_counts_every_input_and_output_once(toys):
    for case in toys:
        work = case.work(32)
        assert work.flops > 0
        if case.kind == "forward":
            inputs = case.draw(1, 32)
            moved = sum(
                x.numel() * (4 if name == "a" and (x.dim() == 3 or "beta" in inputs) and "x" not in inputs else 2)
                for name, x in inputs.items()
            )
            assert work.traffic * 32 == moved + 2 * case.ours(inputs).numel()
