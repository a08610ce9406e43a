import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

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
    "tasks.recall={keys: 8, values: 8, pairs: [2, 3]}",
    "search.seconds=null",
    "workers.pool=local",
]
"""Overrides of the smoke preset that make a run take a tenth of a second."""


@pytest.fixture
def tiny() -> list[str]:
    return list(TINY)
