import pytest

from workers.suite.suite import build_suite
from workers.tasks import TASKS
from workers.testing import TaskContract

OPTIONS = {
    "mqar": {"pairs": [4, 8]},
    "fuzzy_recall": {"key_tokens": [2, 3], "pairs": [4, 8], "value_tokens": 2},
    "multi_key": {"key_tokens": [2, 3], "keys": [4, 9], "gap": 1},
    "needle": {"haystack": "language", "value_tokens": 4, "needles": [1, 2]},
}


class TestBuiltIn(TaskContract):
    @pytest.fixture(params=[(name, length) for name in TASKS.names() for length in (63, 96)], ids=str)
    def task(self, request):
        name, length = request.param
        return build_suite({name: OPTIONS.get(name, {})}, length).tasks[name]
