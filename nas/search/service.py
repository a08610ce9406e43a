"""Puts a search together from its configuration, and runs it in its folder."""

import sys
import threading
from functools import partial
from typing import Literal

from NOPE import study_layouts

from nas import report
from nas.config import Config
from nas.results.folder import Folder
from nas.results.trials import Trial, TrialBook, mark_front
from nas.search.controller import Controller
from nas.search.progress import Progress
from nas.search.proposer import Proposer
from search_space.cost.cost import cost
from search_space.cost.objectives import EFFICIENCY
from search_space.layouts.layout import Layout
from search_space.layouts.published import published_layouts
from search_space.layouts.resize import keeps_shares, resize
from search_space.space.space import Space
from tracking.runs import Tracker
from workers.jobs import Job
from workers.pool import open_pool

Ending = Literal["complete", "interrupted"]


def efficiency(layout: Layout, config: Config) -> float:
    """The efficiency objective as something to be low: one that is to be high comes inverted."""
    objective = EFFICIENCY[config.search.efficiency]
    value = float(objective.of(cost(layout, config.target)))
    return value if objective.direction == "minimize" else 1.0 / max(value, 1e-9)


def make_book(config: Config) -> TrialBook:
    """An empty book that knows what layouts cost."""

    def costs(layout: Layout) -> dict[str, float]:
        price = cost(layout, config.target)
        return {name: float(objective.of(price)) for name, objective in EFFICIENCY.items()}

    return TrialBook(costs)


def read_trials(folder: Folder, config: Config) -> list[Trial]:
    """All trials of a folder, with their standing on the front."""
    book = make_book(config)
    for each in folder.read():
        book.add(each)
    mark_front(book.trials, config.search.efficiency)
    return book.trials


def queued(config: Config, space: Space) -> list[tuple[Layout, str]]:
    """Layouts that are tried before anything is proposed, as far as the space holds them, each once.

    Published layouts that are no longer themselves at this depth (one attention layer in 24 where there are but six)
    are left out; those that are the same go by the name of the first.
    """
    depth = config.space.layers
    published = ((resize(p.layout, depth), p.name) for p in published_layouts() if keeps_shares(p.layout, depth))
    queues = {"published": published, "study": study_layouts(depth), None: ()}
    found: dict[Layout, str] = {}
    for layout, name in queues[config.search.queue]:
        if space.decisions(layout) is not None and space.feasible(layout):
            found.setdefault(layout, name)
    return list(found.items())


def make_job(config: Config, trial: int, layout: Layout, seeds: tuple[int, ...]) -> Job:
    """The job of training `layout` with `seeds` together."""
    return Job(
        trial=trial,
        layout=layout,
        seeds=seeds,
        proxy=config.proxy,
        training=config.training,
        tasks=config.all_tasks,
    )


def run(config: Config, folder: Folder, space: Space) -> list[Trial]:
    """Searches in `folder` until the budget is spent, going on from what is recorded there.

    However it ends, the folder holds the front of all runs that ended, and can be resumed.

    Returns:
        All trials.
    """
    folder.mend()
    records = folder.read()
    print("starting workers ...", file=sys.stderr, flush=True)
    pool = open_pool(config.workers)
    tracker = _start_tracker(config, folder)
    proposer = Proposer(
        space, partial(efficiency, config=config), config.search.sampler, config.search.seed + len(records)
    )
    state: Ending = "interrupted"
    book = make_book(config)
    try:
        controller = Controller(
            config.search,
            folder,
            pool,
            proposer,
            book,
            partial(make_job, config),
            queued(config, space),
            lambda trial, moved, error: _after_job(trial, moved, error, config, tracker),
        )
        controller.replay(records)
        if tracker:
            tracker.log(report.record(t, config) for t in book.trials)
        progress = Progress(controller)
        shown = _Refresh(progress)
        try:
            controller.run()
            state = "complete"
        finally:
            shown.stop()
    finally:
        pool.close()
        _finish(book.trials, config, folder, tracker, state)
    return book.trials


def _start_tracker(config: Config, folder: Folder) -> Tracker | None:
    if not config.tracking.enabled:
        return None
    tracker = Tracker(folder.path, config.tracking.uri, config.tracking.experiment)
    tracker.start(config.name, config.to_yaml(), config.search.efficiency)
    return tracker


def _after_job(trial: Trial, moved: list[Trial], error: str | None, config: Config, tracker: Tracker | None) -> None:
    if tracker:
        tracker.log(report.record(t, config) for t in (trial, *moved))
    if error:
        last = error.strip().splitlines()[-1]
        print(f"trial {trial.number} ({trial.layout}) failed: {last}", file=sys.stderr)


def _finish(trials: list[Trial], config: Config, folder: Folder, tracker: Tracker | None, state: Ending) -> None:
    if trials:
        report.write(trials, config, folder)
    if tracker:
        tracker.log(report.record(t, config) for t in trials)
        if trials:
            tracker.log_front(folder.front_figure, folder.front_json)
        tracker.finish(state)


class _Refresh:
    """Keeps the progress line fresh while runs are waited for."""

    def __init__(self, progress: Progress):
        self._progress, self._stop = progress, threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self._stop.wait(1.0):
            self._progress.update()

    def stop(self) -> None:
        """Ends the line with the last state."""
        self._stop.set()
        self._thread.join()
        self._progress.update()
        self._progress.close()
