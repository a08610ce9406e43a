"""A line that says how a search is getting on."""

import sys
import time

from tqdm import tqdm

from nas.search.controller import Controller

EVERY_SECONDS = 20.0


class Progress:
    """A live bar on a terminal; a line now and then where standard error is no terminal."""

    def __init__(self, controller: Controller):
        self._controller = controller
        self._live = sys.stderr.isatty()
        search = controller.search
        self._by_time = search.seconds is not None
        total = search.seconds if search.seconds is not None else search.trials
        bar = "{desc} {percentage:3.0f}%|{bar}| {postfix}"
        self._bar = tqdm(total=total, desc="search", bar_format=bar, disable=not self._live, file=sys.stderr)
        self._last = 0.0

    def update(self) -> None:
        """Shows where the search is."""
        controller = self._controller
        trials = controller.book.trials
        front = sum(t.on_front for t in trials)
        best = max((t.recall for t in trials if t.state == "complete"), default=0.0)
        left = controller.seconds_left
        text = f"{len(trials)} trials, front {front}, best recall {best:.3f}"
        if left is not None:
            text += f", {int(left) // 60}:{int(left) % 60:02d} left"
        if self._live:
            done = controller.elapsed if self._by_time else len(trials)
            self._bar.n = min(done, self._bar.total)
            self._bar.set_postfix_str(text)
        elif time.monotonic() - self._last > EVERY_SECONDS:
            self._last = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()
