import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_worker_niceness", "0")  # the tests wait for them, on a busy machine too

import pytest
import torch

pytest.register_assert_rewrite("search_space.testing", "workers.testing", "nas.testing")
torch.set_num_threads(1)
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

TINY = [
    "proxy.width=16",
    "training.steps=8",
    "training.length=16",
    "training.batch=4",
    "training.evaluations=2",
    "training.test_sequences=8",
    "loss={length: 64, steps: 8, batch: 2}",
    "tasks.recall={keys: 8, values: 8, pairs: [2, 3]}",
    "search.seconds=null",
    "workers.pool=local",
]
"""Overrides of the smoke preset that make a run take a tenth of a second."""


@pytest.fixture
def tiny() -> list[str]:
    return list(TINY)


@pytest.fixture(autouse=True)
def seed():
    """A test draws the same numbers alone, in any order and beside any other."""
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def one_worker_process():
    """Local pools take over the process of the one before: it takes seconds to start."""
    from workers.pools import local

    spare, new, close = [], local.Worker, local.LocalPool.close

    def place():
        return [*sys.path, os.getcwd()], {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}

    def start():
        while spare:
            worker, where = spare.pop()
            if where == place() and worker._process.poll() is None and not worker._connection.closed:
                return worker
            worker.end()
        return new()

    def keep(pool):
        if any(worker is pool._worker for worker, _ in spare):
            return  # closed before
        if spare or pool._running or not pool._worker.ready:
            close(pool)
        else:
            pool._jobs.clear()
            spare.append((pool._worker, place()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "Worker", start)
        patch.setattr(local.LocalPool, "close", keep)
        yield
    for worker, _ in spare:
        worker.end()
