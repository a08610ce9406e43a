"""How long a job may take before it counts as hung."""

FLOOR = 300.0
"""Seconds that a job has in any case, where no limit is set."""
START = 900.0
"""Seconds that a worker process may take to start: it imports torch, and the machine may be busy."""
FACTOR = 10.0
"""How many times longer than expected a job may take, where no limit is set."""


class Limit:
    """The time limit of jobs.

    Args:
        timeout: in seconds; None lets it follow from the jobs seen so far.
    """

    def __init__(self, timeout: float | None):
        self._timeout = timeout
        self._longest = 0.0

    def saw(self, seconds: float) -> None:
        """Takes note of how long a job took that came to its end."""
        self._longest = max(self._longest, seconds)

    def of(self, expected: float) -> float:
        """Seconds that a job may take.

        Args:
            expected: that it takes, by its first steps; 0 before they are done.
        """
        return self._timeout or max(FLOOR, FACTOR * max(self._longest, expected))
