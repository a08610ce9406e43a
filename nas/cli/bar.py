"""How a search, an audit and a study get on, on standard error: live on a terminal, else a line now and then."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from nas.cli.group import say
from nas.cli.terminal import drawn, open_console
from nas.results.front_table import front_table
from nas.results.running import running_table
from nas.search.progress import Progress
from nas.study.training import Progress as RunsProgress

if TYPE_CHECKING:
    from rich.live import Live

    from nas.config import Config
    from nas.results.table import Table

EVERY_SECONDS = 20.0
LONGEST = 40
"""Characters of the bar."""
MOST_RUNNING, MOST_ON_FRONT = 6, 8
"""Rows of the live tables: all of it fits in 24 lines."""


class Board:
    """What standard error shows of something that goes on: on a terminal always its present state, else lines."""

    def __init__(self):
        self._live: Live | None = None
        self._last = -EVERY_SECONDS
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            import rich.live

            self._console = open_console(sys.stderr)
            self._live = rich.live.Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
            self._swap_logs(sys.stderr)  # which now prints above what is live

    @property
    def live(self) -> bool:
        """Whether anything but lines is shown."""
        return self._live is not None

    def show(self, share: float, line: str, tables: Sequence["Table"] = ()) -> None:
        """Shows how far it is.

        Args:
            share: that is done.
            line: that says so in words.
            tables: shown on a terminal below it.
        """
        if self._live is not None:
            from rich.console import Group

            width, coloured = self._console.width, self._console.color_system is not None
            done = round(share * LONGEST)
            parts = [f"{'━' * done}{' ' * (LONGEST - done)} {share:4.0%}", line]
            with suppress(OSError):
                self._live.update(Group(*parts, *(drawn(table, width, coloured) for table in tables)), refresh=True)
        elif time.monotonic() - self._last > EVERY_SECONDS:
            self._last = time.monotonic()
            say(line)

    def close(self) -> None:
        """Takes away what is live."""
        if self._live is not None:
            with suppress(OSError):
                self._live.stop()
            self._swap_logs(sys.stderr)

    def _swap_logs(self, stream) -> None:
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(stream)


class SearchBar:
    """Shows a search. Call it with a `Progress`.

    Args:
        config: of the search; without it, as of one that runs elsewhere, its front is not shown.
    """

    def __init__(self, config: "Config | None" = None):
        self._config, self._board = config, Board()

    def __call__(self, now: Progress) -> None:
        """Shows where the search is."""
        tables = []
        if self._board.live and self._config is not None and now.front:
            tables.append(front_table(now.front, self._config, most=MOST_ON_FRONT))
        if self._board.live and now.jobs:
            colours = tables[0].colours if tables else {}
            tables.append(running_table(now.jobs[:MOST_RUNNING], colours))
        self._board.show(now.spent, described(now), tables)

    def close(self) -> None:
        """Ends the bar."""
        self._board.close()


@contextmanager
def search_bar(config: "Config | None" = None) -> Iterator[SearchBar]:
    """A bar as long as the context lasts."""
    bar = SearchBar(config)
    try:
        yield bar
    finally:
        bar.close()


def described(now: Progress) -> str:
    """The progress in a line."""
    parts = [f"{now.trials} trials", f"front {now.on_front}", f"{now.runs} runs"]
    if now.rate:
        parts.append(f"{now.rate:.3g} a minute")
    if now.moved is not None:
        parts.append(f"front moved {clock(now.elapsed - now.moved)} ago")
    if now.seconds_left is not None:
        parts.append(f"{clock(now.seconds_left)} left")
    return ", ".join(parts)


@contextmanager
def run_bar(name: str) -> Iterator[Callable[[RunsProgress], None]]:
    """Shows how many of how many runs are done, and the time left, as long as the context lasts."""
    board = Board()

    def update(now: RunsProgress) -> None:
        left = "" if now.seconds_left is None else f", {clock(now.seconds_left)} left"
        board.show(now.done / max(1, now.total), f"{name}: {now.done} of {now.total} runs{left}")

    try:
        yield update
    finally:
        board.close()


def clock(seconds: float) -> str:
    """Seconds as 1:02:03, or 2:03."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
