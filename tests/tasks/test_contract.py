import sys

import pytest

from workers.suite.suite import build_suite
from workers.tasks import TASKS
from workers.testing import TaskContract

OPTIONS = {"mqar": {"pairs": [4, 8]}, "fuzzy_recall": {"key_tokens": [2, 3], "pairs": [4, 8], "value_tokens": 2}}


class TestBuiltIn(TaskContract):
    @pytest.fixture(params=[(name, length) for name in TASKS.names() for length in (63, 96)], ids=str)
    def task(self, request):
        name, length = request.param
        return build_suite({name: OPTIONS.get(name, {})}, length).tasks[name]


OWN = '''
from dataclasses import dataclass
import torch
from workers.suite.task import Batch, Task

@dataclass(frozen=True, kw_only=True)
class Copy(Task):
    """The next token is always the one before."""
    symbols: int = 5

    @property
    def vocabulary(self):
        return self.symbols

    def train_batch(self, count, progress, generator):
        tokens = torch.randint(self.symbols, (count, self.length), generator=generator)
        return Batch(tokens, tokens.roll(1, 1))

    def test_batch(self, count, generator):
        return self.train_batch(count, 1.0, generator)
'''


class TestOwn(TaskContract):
    @pytest.fixture
    def task(self, tmp_path, monkeypatch):
        (tmp_path / "my_tasks.py").write_text(OWN)
        monkeypatch.syspath_prepend(tmp_path)
        yield build_suite({"mine": {"task": "my_tasks:Copy", "symbols": 7}}, 20).tasks["mine"]
        sys.modules.pop("my_tasks")
