"""Takes searches from the queue, starts their processes and watches them.

Every server has one. Whatever ends a server, its searches go on as processes of their own; another server, or the same
one started again, takes their leases over.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from nas.service.child import BUSY
from nas.service.folders import Folders, Place, born, host
from nas.service.leases import Leases
from nas.service.queue import Queue
from nas.service.runners import Look, runner_of
from nas.service.settings import Settings
from nas.service.tables import Lease, Search

logger = logging.getLogger(__name__)

TICK = 0.5
"""Seconds between two looks."""


def me() -> str:
    """This server's name: it tells whether the server still lives, on the same machine."""
    return f"{host()}/{os.getpid()}/{born(os.getpid())}"


def gone(server: str) -> bool:
    """Whether a server of this machine has ended; those of others are known by their leases alone."""
    where, pid, birth = server.split("/")[:3]
    return where == host() and born(int(pid)) != birth


@dataclass
class Held:
    """What this server knows of a search that it holds.

    Args:
        asked: when it was asked to stop.
    """

    asked: float | None = None


class Keeper:
    """Runs the searches of this server.

    Args:
        queue: of the service.
        leases: of the service.
        folders: of the service.
        settings: of the service.
        name: of this server; no other one has it.
    """

    def __init__(self, queue: Queue, leases: Leases, folders: Folders, settings: Settings, name: str | None = None):
        self.queue, self.leases, self.folders, self.settings = queue, leases, folders, settings
        self.name, self.runner = name or me(), runner_of(settings)
        self._held: dict[str, Held] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self.seen = 0.0
        """When the queue was last looked at without an error, by `time.monotonic`."""

    def start(self) -> None:
        """Begins, in a thread."""
        self.seen = time.monotonic()
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it was started, and has not ended."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Ends; the searches go on."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.step()
                self.seen = time.monotonic()
            except (SQLAlchemyError, OSError) as error:  # a database that is away comes back
                logger.warning("the queue cannot be worked on: %s", str(error).splitlines()[0])
            except Exception:
                logger.exception("an error in the service; it goes on")
            self._stop.wait(TICK)

    def step(self) -> None:
        """Looks after everything once."""
        self._take_over()
        searches = self.leases.extend(self.name)
        kept = {search.id for search in searches}
        self._held = {identity: held for identity, held in self._held.items() if identity in kept}
        for search in searches:
            self._try(self._watch, search)
        while (taken := self.leases.claim(self.name, self.settings.cores, self.settings.gpus)) is not None:
            self._try(self._start, taken)
        for identity in self.leases.deleted():
            self._remove(identity)

    def index(self) -> None:
        """Puts into the queue what has a folder and is not in it, as after the database was lost."""
        for identity in sorted(self.folders.identities() - self.queue.identities()):
            place = self.folders.at(identity)
            try:
                asked, process = place.submission, place.process
            except (ValueError, TypeError, LookupError):
                logger.warning("%s is no folder of the service; it is left alone", place.path)
                continue
            ending = process.ending if process else None
            self.queue.restore(identity, asked, ending, process.progress if process else None)

    def _try(self, act: Callable[[Search], None], search: Search) -> None:
        """Does something with a search; what goes wrong with its folder is no reason to leave the others alone."""
        try:
            act(search)
        except ConnectionError:
            logger.debug("search %s waits for the cluster", search.id)
        except (OSError, ValueError, LookupError):
            logger.exception("search %s", search.id)

    def _remove(self, identity: str) -> None:
        place = self.folders.at(identity)
        if place.alive():  # it was indexed anew, and has gone on all the time
            place.ask_to_stop()
            return
        self.folders.remove(identity)
        self.leases.remove(identity)

    def _take_over(self) -> None:
        now, leases = self.leases.all()
        for lease in leases:
            if lease.server != self.name and (lease.until < now or self._orphan(lease)):
                self.leases.take_over(lease, self.name)

    def _orphan(self, lease: Lease) -> bool:
        # A process that was just started may not say so yet: then the lease is waited for.
        place = self.folders.at(lease.search)
        return gone(lease.server) and (place.process or place.job) is not None

    def _start(self, search: Search) -> None:
        place = self.folders.at(search.id)
        self._held[search.id] = Held()
        if place.alive() or self.runner.look(place).alive:  # it was indexed anew, and has gone on all the time
            return
        place.clear()
        self.runner.start(search, place)

    def _watch(self, search: Search) -> None:
        place, held = self.folders.at(search.id), self._held.setdefault(search.id, Held())
        look = Look(True) if place.alive() else self.runner.look(place)
        process = place.process
        if not look.alive:
            self._settle(search, place, look)
        elif search.wanted != "run" or place.asked_to_stop():
            self._stop_it(place, held)
        elif process is not None and process.progress not in (None, search.progress):
            self.leases.advance(search.id, process.progress)

    def _settle(self, search: Search, place: Place, look: Look) -> None:
        process = place.process  # what it said last
        self.runner.forget(place)
        if look.code == BUSY:  # another process runs the search: this one left everything to it
            return
        recorded = look.lost or (process is not None and place.record_bytes > process.record)
        ending, error = (process.ending, process.error) if process else (None, None)
        self.leases.release(search.id, self.name, ending, error, process.progress if process else None, recorded)
        self._held.pop(search.id, None)

    def _stop_it(self, place: Place, held: Held) -> None:
        place.ask_to_stop()
        held.asked = held.asked or time.monotonic()
        if time.monotonic() - held.asked > self.settings.grace:
            self.runner.kill(place)
