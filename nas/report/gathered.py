"""Several searches in one MLflow store, made from their records."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from nas.config import Config
from nas.report.page import report_page
from nas.results import front
from nas.results.folder import Folder
from nas.results.records import RunRecord
from nas.results.sending import send
from nas.results.trials import Trial, find_objectives
from tracking.chart import ALL, share_all
from tracking.picture.comparison import LINES
from tracking.runs import Tracker
from tracking.store import Store, search_id
from tracking.ui import Shown
from workers.watch import if_killed, removal

EXPERIMENT = "searches"

Found = tuple[Sequence[Trial], Sequence[RunRecord], Config]
"""Trials, runs and configuration of a search."""


@contextmanager
def gathered(searches: Mapping[str, Found], on_search: Callable[[str], None] = lambda name: None) -> Iterator[Shown]:
    """A store for these searches alone, as long as the context lasts; nothing is written into their folders.

    Args:
        searches: by their names.
        on_search: is told the name of each before it is sent.

    Yields:
        What to open the pages on: the charts of the one, or all of them in one chart.
    """
    with tempfile.TemporaryDirectory(prefix="nas-ui-") as place, if_killed(removal(place)):
        store = Store.locate(place)
        client = store.connect()
        for number, (name, (trials, runs, config)) in enumerate(searches.items()):
            on_search(name)
            folder = Folder(Path(place, str(number)))
            folder.path.mkdir()
            front.write(trials, config, folder)
            tracker = Tracker(folder.path, store.uri, EXPERIMENT)
            colour = LINES[number % len(LINES)] if len(searches) > 1 else None
            tracker.start(name, config.to_yaml(), config.search.objectives, colour)
            send(trials, runs, config, folder, report_page, tracker)
            tracker.finish("complete", wait=None)
        if len(searches) == 1:
            yield Shown(store, EXPERIMENT, search_id(folder.path))
            return
        objectives = {name: find_objectives(config.search.objectives) for name, (_, _, config) in searches.items()}
        share_all(client, store.experiment(client, EXPERIMENT), objectives)
        yield Shown(store, EXPERIMENT, ALL)
