"""The walk over chunks in Triton against the loop, and the operator on top of it."""

import pytest
import torch

pytest.importorskip("triton")

from torch.testing import assert_close

from kernels import dplr
from kernels.chunk_states import IMPLEMENTATIONS, chunk_states
from kernels.chunk_states.triton import LARGEST
from tests.kernels.test_dplr import draws
from tests.kernels.test_operators import STRENGTHS, B, H, K, V, compare, draw

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize(("keys", "values"), [(1, 1), (6, 20), (16, 16), (40, 33), (LARGEST, 8), (LARGEST + 1, 3)])
@pytest.mark.parametrize("chunks", [1, 5])
@pytest.mark.parametrize("by_key", [True, False])
def test_states_and_gradients(by_key, chunks, keys, values, monkeypatch):
    rows = keys if by_key else 1
    inputs = {
        "keep": draw(B, H, chunks, rows, 1).sigmoid(), "move": draw(B, H, chunks, keys, keys) / (2 * keys),
        "add": draw(B, H, chunks, keys, values), "state": draw(B, H, keys, values),
    }  # fmt: skip
    compare(lambda x: chunk_states(*x.values()), inputs, "triton", monkeypatch)


@pytest.mark.parametrize("length", [1, 64, 100])
@pytest.mark.parametrize("strength", STRENGTHS.values(), ids=STRENGTHS)
def test_dplr(strength, length, monkeypatch):
    inputs = {**draws(length, strength), "state": draw(B, H, K, V)}

    def run(x):
        return dplr(*(x[name] for name in inputs if name != "state"), initial_state=x["state"])

    compare(run, inputs, "triton", monkeypatch)


def test_the_loop_is_not_used(monkeypatch):
    """An operator calls the kernels, not the loop, which would be a launch for every chunk."""
    monkeypatch.setenv("KERNELS_BACKEND", "triton")
    monkeypatch.setitem(IMPLEMENTATIONS, "chunked", None)
    inputs = [x.float().to(DEVICE) for x in draws(33).values()]
    o, _ = dplr(*inputs)
    monkeypatch.setenv("KERNELS_BACKEND", "reference")
    expected, _ = dplr(*inputs)
    assert_close(o, expected, rtol=1e-4, atol=1e-5)
