"""Makes the summary of a search, and keeps it up to date while it runs."""

import time
from collections.abc import Sequence

from nas.config import Config
from nas.results.folder import Folder
from nas.results.front import front_csv, front_json
from nas.results.front_table import front_table
from nas.results.summary import Summary, stamp, write_summary
from nas.results.trials import Trial

SHARE = 1 / 20
"""Largest share of a search's time that goes to its summary."""


def summarise(trials: Sequence[Trial], known: int, elapsed: float, config: Config) -> Summary:
    """How a search stands.

    Args:
        trials: of the search.
        known: runs on record, lost ones too.
        elapsed: seconds spent.
        config: of the search.
    """
    runs = sum(len(trial.results) + len(trial.failures) for trial in trials)
    return Summary(
        states={state: sum(t.state == state for t in trials) for state in ("complete", "diverged", "failed")},
        runs=runs,
        lost=known - runs,
        elapsed=elapsed,
        seconds=config.search.seconds,
        most_trials=config.search.trials,
        front={"json": front_json(trials, config), "csv": front_csv(trials, config)},
        table=front_table(trials, config),
    )


class KeptSummary:
    """The summary in the folder of a search that is under way.

    Args:
        config: of the search.
        folder: held by this process.
    """

    def __init__(self, config: Config, folder: Folder):
        self._config, self._folder = config, folder
        self._known, self._next = -1, 0.0

    def update(self, trials: Sequence[Trial], known: int, elapsed: float, at_once: bool = False) -> None:
        """Writes it where there are new runs, unless that took too much time lately.

        Args:
            trials: of the search.
            known: runs on record, lost ones too.
            elapsed: seconds spent.
            at_once: whether to write it however much time that takes.
        """
        begin = time.monotonic()
        if known == self._known or (begin < self._next and not at_once):
            return
        write_summary(self._folder.path, summarise(trials, known, elapsed, self._config), stamp(self._folder.path))
        end = time.monotonic()
        self._known, self._next = known, end + (end - begin) / SHARE
