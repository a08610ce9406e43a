"""Records a search in MLflow while it runs, without ever holding it up."""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from operator import methodcaller
from pathlib import Path
from typing import Any

from search_space.cost.objectives import OBJECTIVES
from tracking.records import FrontRecord, SearchRecord, TrialRecord
from tracking.search_run import STATUS, SearchRun
from tracking.store import Store, own_search_id, search_id

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
"""Seconds between attempts at a store that fails; each pause is twice the one before, up to the longest."""
REFUSED = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "MALFORMED_REQUEST"}
"""MLflow's codes for what it will not take, however often it is sent."""

ORDER = ("trial", "front", "status")
"""What is written first."""

Key = tuple[str, Any]
Task = Callable[[SearchRun], None]


class Tracker:
    """Keeps the runs of one search in MLflow up to date.

    Every method but `finish` returns at once: a thread does the writing. What cannot be written is kept and tried
    again, and one line in the log says so; the search never hears of it. What is missing in the end is written when
    the search goes on and hands in its records again.

    Args:
        folder: of the search; it has to exist when `start` is called.
        uri: of an MLflow server or a SQLite file; None for `mlflow.db` and `artifacts/` in `folder`.
        experiment: the MLflow experiment that the runs are kept in.

    Raises:
        InputError: `uri` cannot be one.
    """

    def __init__(self, folder: str | Path, uri: str | None = None, experiment: str = "nas"):
        self.store = Store.locate(folder, uri)
        self._folder, self._experiment = Path(folder), experiment
        # What is to be written, by what it is about: a newer record takes the place of one that still waits.
        self._waiting: dict[Key, Task] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._failing = False
        self._pause = FIRST_PAUSE
        self._thread: threading.Thread | None = None

    def start(self, name: str, config_yaml: str, objectives: Sequence[str], colour: str | None = None) -> None:
        """Begins to record, or goes on with what an earlier session recorded from this folder.

        Args:
            name: of the search.
            config_yaml: its whole configuration.
            objectives: names of what it trades, two or three; keys of `TrialRecord.objectives`.
            colour: of its points among those of other searches; None for those of a search alone.

        Raises:
            InputError: there is no such objective.
        """
        known = {each: OBJECTIVES.get(each, key="search.objectives") for each in objectives}
        name_of = search_id if self.store.owned else own_search_id
        search = SearchRecord(
            id=name_of(self._folder), name=name, config_yaml=config_yaml, objectives=known, colour=colour
        )
        self._thread = threading.Thread(target=self._work, args=(search,), name="tracking", daemon=True)
        self._thread.start()

    def log(self, records: Iterable[TrialRecord]) -> None:
        """Hands in trials that are new or may have changed; what the store has already is not written again."""
        self._hand_in({("trial", r.number): methodcaller("write_trial", r) for r in records})

    def log_front(self, front: FrontRecord) -> None:
        """Hands in what was found, in the place of what was found before."""
        self._hand_in({("front", ""): methodcaller("write_front", front)})

    def finish(self, state: str, wait: float | None = 60.0) -> bool:
        """Ends the record: waits up to `wait` seconds while it is being written, not for a store that fails.

        Args:
            state: "complete", "interrupted" (the search can go on) or "failed".
            wait: seconds; None for as long as it takes.

        Returns:
            Whether the store holds everything; if not, a line in the log says what it lacks.
        """
        self._closing = True
        self._hand_in({("status", ""): methodcaller("write_status", STATUS[state])})
        if self._thread is not None:
            self._thread.join(wait)
        done = not self._waiting and not (self._thread and self._thread.is_alive())
        if not done:
            logger.warning("MLflow at %s may lack trials; they are sent when the search goes on", self.store.uri)
        return done

    def _hand_in(self, tasks: dict[Key, Task]) -> None:
        with self._changed:
            self._waiting.update(tasks)
            self._changed.notify()

    def _work(self, search: SearchRecord) -> None:
        """The thread: opens the store and writes; after a failure it begins anew, once more when closing."""
        while True:
            closing = self._closing
            try:
                self._write(self._open(search))
                return
            except Exception as error:
                self._report(error)
            if closing:
                return
            with self._changed:
                self._changed.wait_for(lambda: self._closing, timeout=self._pause)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _open(self, search: SearchRecord) -> SearchRun:
        client = self.store.connect()
        return SearchRun(client, self.store.experiment(client, self._experiment), search)

    def _write(self, run: SearchRun) -> None:
        """Writes what waits, until closing."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                # The front comes after its trials, and the status last: whoever opens the run sets it to running.
                key = min(self._waiting, key=lambda each: ORDER.index(each[0]))
                task = self._waiting.pop(key)
            try:
                task(run)
            except Exception as error:
                if _refused(error):
                    logger.warning("MLflow at %s does not take %s %s: %s", self.store.uri, *key, _line(error))
                    continue
                with self._changed:
                    self._waiting.setdefault(key, task)
                raise
            if self._failing:
                logger.info("MLflow at %s can be written again", self.store.uri)
            self._failing, self._pause = False, FIRST_PAUSE

    def _report(self, error: Exception) -> None:
        """One line for each time that the store begins to fail."""
        if not self._failing:
            logger.warning(
                "MLflow at %s cannot be written (%s); the search goes on and its records are kept",
                self.store.uri,
                _line(error),
            )
        self._failing = True


def _refused(error: Exception) -> bool:
    return getattr(error, "error_code", None) in REFUSED


def _line(error: Exception) -> str:
    """The error in one line of bounded length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:200] + "..."
