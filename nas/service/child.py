"""The process of one search: `python -m nas.service.child FOLDER [--trust] [--address CLUSTER] [--job ID]`.

It needs no server, and outlives the one that began it.
"""

import argparse
import logging
import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from filelock import Timeout

from nas.service.folders import Place, Process, born, host
from nas.service.kept import TRIALS, kept, trials_json

PATIENCE = 10.0
"""Seconds to wait for the lock: somebody may be looking whether it is held."""
BUSY = 3
"""Exit code where another process runs the search, or is to."""


def main(path: str, trust: bool, address: str | None = None, job: str | None = None) -> int:
    """Runs the search in a folder to its end or until it is asked to stop; what became of it stands in the folder.

    Args:
        path: of the folder.
        trust: as in `nas.open`.
        address: of the Ray cluster that runs are spread over, where the search names none.
        job: of Ray that this process is; nothing is done if the search is another one's by now.
    """
    place = Place(Path(path))
    held = place.lock(PATIENCE)
    try:
        held.acquire()
    except Timeout:
        return BUSY
    if job is not None and place.job != job:
        held.release()
        return BUSY
    me = Process(pid=os.getpid(), born=born(os.getpid()) or "", host=host(), record=place.record_bytes)
    place.process = me
    ending, error = "failed", None
    try:
        ending, error = _search(place, me, trust, address)
    except Exception as problem:
        logging.getLogger("nas").exception("the search failed")
        error = str(problem) or type(problem).__name__
    now = place.process or me
    place.process = replace(now, ending=ending, error=error)
    held.release()
    return 0


def _search(place: Place, me: Process, trust: bool, address: str | None) -> tuple[str, str | None]:
    import nas

    stop = threading.Event()
    threading.Thread(target=_watch, args=(place, stop), daemon=True).start()
    latest: nas.Progress | None = None
    shown = 0.0

    def show(now: nas.Progress) -> None:
        nonlocal latest, shown
        latest = now
        if time.monotonic() - shown >= 1.0:
            shown = time.monotonic()
            with suppress(OSError):  # a disk that is full costs no search
                place.process = replace(me, progress=now.to_dict())

    opened, overrides = nas.open(place.path, trust=trust), [*place.submission.budget]
    workers = opened.config.workers
    if address is not None and workers.pool == "ray" and workers.address is None:
        overrides.append(f"workers.address={address}")
    found = opened.resume(overrides, stop=stop, on_progress=show)
    kept(place, TRIALS, lambda: trials_json(found))  # so that no server has to
    if latest is not None:
        place.process = replace(me, progress=latest.to_dict())
    if stop.is_set():
        return "interrupted", None
    if not any(trial.state == "complete" for trial in found.trials):
        errors = [failure.error.strip().splitlines()[-1] for t in found.trials for failure in t.failures]
        return "failed", f"nothing was found; {errors[0] if errors else 'no layout was trained to its end'}"
    return "complete", None


def _watch(place: Place, stop: threading.Event) -> None:
    while not place.asked_to_stop():
        time.sleep(0.5)
    stop.set()


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING, stream=sys.stderr, force=True)
    logging.getLogger("nas").setLevel(logging.INFO)
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--trust", action="store_true")
    parser.add_argument("--address")
    parser.add_argument("--job")
    sys.exit(main(**vars(parser.parse_args())))
