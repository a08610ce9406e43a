"""How a search and an audit get on, on standard error."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from nas.cli.group import say
from nas.search.progress import Progress
from search_space.cost.objectives import OBJECTIVES

EVERY_SECONDS = 20.0


class SearchBar:
    """A live bar on a terminal; a line now and then where standard error is none. Call it with a `Progress`."""

    def __init__(self):
        self._live = sys.stderr.isatty()
        layout = "{desc} {percentage:3.0f}%|{bar}| {postfix}"
        self._bar = tqdm(total=1.0, desc="search", bar_format=layout, disable=not self._live, file=sys.stderr)
        self._last = -EVERY_SECONDS

    def __call__(self, now: Progress) -> None:
        """Shows where the search is."""
        if self._live:
            self._bar.n = now.spent
            self._bar.set_postfix_str(described(now))
        elif time.monotonic() - self._last > EVERY_SECONDS:
            self._last = time.monotonic()
            say(described(now))

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()


@contextmanager
def search_bar() -> Iterator[SearchBar]:
    """A bar as long as the context lasts."""
    bar = SearchBar()
    try:
        yield bar
    finally:
        bar.close()


def described(now: Progress) -> str:
    """The progress in a line."""
    known = {name: OBJECTIVES.get(name) for name in now.best}
    best = [f"best {name} {o.show(now.best[name])}" for name, o in known.items() if o.measured]
    text = ", ".join([f"{now.trials} trials", f"front {now.on_front}", *best])
    left = now.seconds_left
    return text if left is None else f"{text}, {int(left) // 60}:{int(left) % 60:02d} left"


@contextmanager
def audit_bar() -> Iterator:
    """Shows how many of how many runs are done, as long as the context lasts."""
    with tqdm(
        desc="audit", unit="run", file=sys.stderr, mininterval=0 if sys.stderr.isatty() else 20, delay=0.1
    ) as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update
