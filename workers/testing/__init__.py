"""Suites that tasks and pools of your own pass like the built-in ones; they need pytest.

Inherit a contract in a test file. Assertions are shown in full if the test file begins with
`pytest.register_assert_rewrite("workers.testing")` ahead of the import.
"""

from workers.testing.pools import PoolContract
from workers.testing.tasks import TaskContract

__all__ = ["PoolContract", "TaskContract"]
