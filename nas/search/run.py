"""Runs a search in its folder, from the pool's start to the last record."""

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Literal

from nas.config import Config
from nas.results import front
from nas.results.folder import Folder
from nas.results.queue import queued
from nas.results.sending import Page, send
from nas.results.summarising import KeptSummary
from nas.results.trials import Trial, TrialBook
from nas.results.weights import KeptWeights
from nas.search.controller import Controller
from nas.search.progress import Progress
from nas.search.proposer import Proposer
from nas.search.setup import costs_of, make_job
from search_space.space.space import Space
from tracking.runs import Tracker
from workers.errors import WorkersLost
from workers.jobs import Outcome
from workers.pools import open_pool

logger = logging.getLogger(__name__)

Ending = Literal["complete", "interrupted", "failed"]


def run(
    config: Config,
    folder: Folder,
    space: Space,
    page: Page,
    stop: threading.Event | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Ending:
    """Searches in `folder` until the budget is spent, going on from what is recorded there.

    However it ends, the folder holds the front of all runs that ended, and the search can go on from there.

    Args:
        config: of the search.
        folder: of the search.
        space: of the configuration, checked (`nas.search.setup.check`).
        page: makes the page that MLflow shows of the search.
        stop: ends the search early when it is set.
        on_progress: is told how far the search is, in this thread; an error that it raises ends the search.

    Returns:
        "complete", or "interrupted" where `stop` was set.

    Raises:
        InputError: another process searches in the folder, or the workers that the configuration asks for cannot be
            had.
        WorkersLost: the workers are gone and cannot be had again.
        OSError: the record cannot be written, as on a disk that is full.
    """
    with folder.lock():
        folder.mend()
        folder.write_config(config.to_yaml())  # a search that is resumed may have another budget
        try:
            return _run(config, folder, space, page, stop, on_progress)
        except WorkersLost as error:
            raise WorkersLost(f"{error}; `nas resume {folder.path}` goes on") from error
        except OSError as error:
            why = f"{error.strerror or error}; `nas resume {folder.path}` goes on"
            raise OSError(error.errno, why, error.filename or str(folder.path)) from error


def _run(
    config: Config,
    folder: Folder,
    space: Space,
    page: Page,
    stop: threading.Event | None,
    on_progress: Callable[[Progress], None],
) -> Ending:
    records = folder.read()
    logger.info("starting workers ...")
    pool = open_pool(config.workers)
    tracker: Tracker | None = None
    book, summary = TrialBook(costs_of(config)), KeptSummary(config, folder)
    weights = KeptWeights(folder.weights, config.search.reseed_above)
    ending: Ending = "failed"

    def progressed(progress: Progress) -> None:
        summary.update(book.trials, controller.known, progress.elapsed)
        on_progress(progress)

    try:
        tracker = _start_tracker(config, folder)
        controller = Controller(
            config.search,
            folder,
            pool,
            Proposer(
                space,
                config.search.objectives,
                costs_of(config),
                config.search.sampler,
                config.search.seed,
            ),
            book,
            partial(make_job, config, keep_weights=config.search.keep_weights),
            queued(config, space),
            stop,
            partial(_after_job, config, tracker, weights),
            progressed,
        )
        controller.replay(records)
        weights.resume(book.trials)
        if tracker:
            tracker.log(front.record(t, config) for t in book.trials)
        ending = "complete" if controller.run() else "interrupted"
        summary.update(book.trials, controller.known, controller.elapsed, at_once=True)
        if ending == "complete":
            weights.finish()
    except KeyboardInterrupt:
        ending = "interrupted"
        raise
    finally:
        pool.close()
        _finish(book.trials, config, folder, page, tracker, ending)
    return ending


def _start_tracker(config: Config, folder: Folder) -> Tracker | None:
    if not config.tracking.enabled:
        return None
    tracker = Tracker(folder.path, config.tracking.uri, config.tracking.experiment)
    tracker.start(config.name, config.to_yaml(), config.search.objectives)
    return tracker


def _after_job(
    config: Config, tracker: Tracker | None, weights: KeptWeights, trial: Trial, moved: list[Trial], outcome: Outcome
) -> None:
    weights.update(trial, outcome)
    if tracker:
        tracker.log(front.record(t, config) for t in (trial, *moved))
    if outcome.error:
        logger.warning("trial %d (%s) failed: %s", trial.number, trial.layout, outcome.error.strip().splitlines()[-1])


def _finish(
    trials: list[Trial], config: Config, folder: Folder, page: Page, tracker: Tracker | None, ending: Ending
) -> None:
    written = False
    if trials:
        try:
            front.write(trials, config, folder)
            written = True
        except OSError as error:  # what ended the search matters more, and the record holds all
            logger.warning("the front is not written: %s: %s", error.filename or folder.path, error.strerror or error)
    if ending == "interrupted":
        logger.warning("stopped; `nas resume %s` goes on", folder.path)
    if tracker:
        if written:
            send(trials, folder.read(), config, folder, page, tracker)
        else:
            tracker.log(front.record(t, config) for t in trials)
        tracker.finish(ending)
