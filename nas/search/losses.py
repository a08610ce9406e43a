"""Jobs that were lost with the place where they ran: they are tried again, a bounded number of times."""

import logging
from collections import Counter
from dataclasses import replace

from search_space.layouts.layout import Layout
from search_space.layouts.published import Origin
from workers.jobs import Outcome

logger = logging.getLogger(__name__)

TRIES = {"worker": 3, "time": 2}
"""How often a job may end its worker, or take too long, before its layout is to blame. A lost machine never is."""

Choice = tuple[Layout, Origin | None]
"""What to train next, and where it was published, if it was."""


class Losses:
    """What was lost in this session, and what of it is to be tried again.

    Attributes:
        waiting: layouts that are to be tried again, the first one first.
    """

    def __init__(self):
        self.waiting: list[Choice] = []
        self._counts: Counter[tuple[Layout, tuple[int, ...], str]] = Counter()

    def judge(self, outcome: Outcome) -> Outcome:
        """The outcome; as the fault of its layout if the job was lost too often to be the fault of a place."""
        most = TRIES.get(outcome.fault)
        if most is None:
            return outcome
        key = (outcome.job.layout, outcome.job.seeds, outcome.fault)
        self._counts[key] += 1
        if self._counts[key] < most:
            return outcome
        return replace(outcome, fault="layout", error=f"given up after {most} tries: {outcome.error}")

    def add(self, outcome: Outcome, origin: Origin | None) -> None:
        """Has the job of a lost run tried again."""
        logger.warning("trial %d is tried again: %s", outcome.job.trial, outcome.error)
        self.waiting.append((outcome.job.layout, origin))
