"""How a search and an audit get on, on standard error."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from nas.search.progress import Progress
from nas.study.training import Progress as RunsProgress
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
            print(described(now), file=sys.stderr, flush=True)

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
    return text if left is None else f"{text}, {clock(left)} left"


@contextmanager
def run_bar(name: str) -> Iterator[Callable[[RunsProgress], None]]:
    """Shows how many of how many runs are done, and the time left, as long as the context lasts."""
    live = sys.stderr.isatty()
    layout = "{desc} {n_fmt}/{total_fmt} runs {bar} {postfix}"
    with tqdm(desc=name, bar_format=layout, disable=not live, file=sys.stderr, delay=0.1) as bar:
        last = -EVERY_SECONDS

        def update(now: RunsProgress) -> None:
            nonlocal last
            left = "" if now.seconds_left is None else f"{clock(now.seconds_left)} left"
            if live:
                bar.total, bar.n = now.total, now.done
                bar.set_postfix_str(left)
            elif time.monotonic() - last > EVERY_SECONDS:
                last = time.monotonic()
                print(", ".join(filter(None, (f"{now.done} of {now.total} runs", left))), file=sys.stderr, flush=True)

        yield update


def clock(seconds: float) -> str:
    """Seconds as 1:02:03, or 2:03."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
