"""A server of the service: its parts, and what requests do with them."""

import secrets
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from anyio import CapacityLimiter

import nas
from nas.config.loading import parse_overrides
from nas.results.compare import Comparison, Searched, compare
from nas.results.summary import read_summary
from nas.service.access import Door, Who
from nas.service.database import Database
from nas.service.errors import Conflict, Denied
from nas.service.folders import Folders, Submission
from nas.service.keeper import Keeper
from nas.service.kept import kept
from nas.service.leases import Leases
from nas.service.queue import Queue
from nas.service.settings import Settings
from nas.service.submission import Gate, configured, cores_of, digest_of, gpus_of, identity_of
from nas.service.tables import Search

OPENED = 32
"""Searches whose records are kept in memory."""


class House:
    """A server, without HTTP.

    Args:
        settings: of the service.

    Raises:
        InputError: the database cannot be used, or belongs to another folder.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self.database = Database(settings.database_url, settings.root).open()
        self.folders = Folders(settings.root)
        self.queue, self.leases = Queue(self.database, settings), Leases(self.database, settings)
        self.keeper = Keeper(self.queue, self.leases, self.folders, settings)
        self.door, self.gate = Door(self.database, settings), Gate(settings.allow)
        self.training = threading.Semaphore(1)
        """Who trains a layout while a client waits."""
        self.long = CapacityLimiter(1)
        """What takes seconds, or draws (how pictures look is set for the whole process): one thing at a time."""
        self.answers = Counter[int]()
        """Status -> number of responses."""
        self._opened: OrderedDict[Any, nas.Search] = OrderedDict()
        self._lock = threading.Lock()

    def submit(
        self, who: Who, content: Any, overrides: Sequence[str], name: str | None, priority: int, key: str | None
    ) -> tuple[Search, bool]:
        """Puts a search into the queue.

        Args:
            who: asks for it.
            content: the whole configuration, or the name of a preset.
            overrides: `key=value`.
            name: of the search; that of the configuration by default.
            priority: -10 to 10; above 0 for administrators.
            key: the client's own, so that it may ask twice and gets one search.

        Returns:
            The search, and whether it is new.

        Raises:
            InputError: the configuration cannot be used.
            Denied: the priority is too high.
            Conflict: the key was used for another request, or there are too many searches.
        """
        if priority > 0 and who.scope != "admin":
            raise Denied("priority", priority, "at most 0; administrators may give more")
        config = configured(content, overrides, self.settings)
        config = config if name is None else replace(config, name=name)
        cores = cores_of(config)
        most = min(self.settings.limits.cores, self.settings.quota_of(who.name))
        if cores > most:
            raise nas.InputError("workers.count", config.workers.count, f"at most {most} cores in all")
        gpus = gpus_of(config, self.settings)
        most = min(self.settings.limits.gpus, self.settings.gpu_quota_of(who.name))
        if gpus > most:
            raise nas.InputError("workers.gpus", config.workers.gpus, f"at most {most} GPUs in all, not {gpus}")
        identity = identity_of(who.name, key or secrets.token_hex(16))
        asked = Submission(
            owner=who.name,
            name=config.name,
            digest=digest_of([content, list(overrides), name, priority]),
            priority=priority,
            cores=cores,
            gpus=gpus,
            created=time.time(),
        )
        self.queue.check_open(who.name)
        new = self.folders.create(identity, config.to_yaml(), asked)
        if not new:
            there = self.folders.at(identity).submission
            if there.digest != asked.digest:
                raise Conflict("key", key, "a key of its own for each request; another one has it")
            asked = there
        try:
            return self.queue.submit(identity, asked)
        except Conflict:
            if new and identity not in self.queue.identities():  # else it would be found and run one day
                self.folders.remove(identity)
            raise

    def change(self, who: Who, identity: str, wanted: str, budget: dict[str, float] | None = None) -> Search:
        """Stops, pauses, resumes, prolongs or deletes a search.

        Args:
            who: asks for it.
            identity: of the search.
            wanted: a word of `tables.WANTED`.
            budget: the new search.trials and search.seconds, where it is prolonged.

        Raises:
            Missing: there is no such search of theirs.
            Conflict: its state does not permit it.
            InputError: the budget is beyond the limits.
        """
        search = self.queue.get(identity, who.owner)
        place, limits = self.folders.at(identity), self.settings.limits
        for name, most in (("trials", limits.trials), ("seconds", limits.seconds)):
            if budget and name in budget and budget[name] > most:
                raise nas.InputError(name, budget[name], f"at most {most:g}, as the administrator set it")
        if budget is not None:
            with self._lock:  # the process reads it when it begins
                known = dict(each.split("=") for each in place.submission.budget)
                known |= {f"search.{name}": str(value) for name, value in budget.items()}
                asked = replace(place.submission, budget=tuple(f"{k}={v}" for k, v in known.items()))
                place.submission = asked
        search = self.queue.want(identity, who.owner, wanted, who.name, "prolonged" if budget is not None else None)
        if wanted != "delete":
            with self._lock:
                place.submission = replace(place.submission, wanted=wanted)
        return search

    def open(self, search: Search, overrides: Sequence[str] = ()) -> nas.Search:
        """What a search found, read from its folder; also priced anew, with overrides of its target or objectives.

        Raises:
            InputError: the overrides cannot be used, or name what may not be named.
        """
        key = (search.id, search.created, *overrides)
        with self._lock:
            found = self._opened.pop(key, None)
        found = found or self._read(search, overrides)
        with self._lock:
            self._opened[key] = found
            while len(self._opened) > OPENED:
                self._opened.popitem(last=False)
        return found

    def _read(self, search: Search, overrides: Sequence[str] = ()) -> nas.Search:
        for content in parse_overrides(overrides):
            self.gate(content)
        return nas.open(self.folders.at(search.id).path, list(overrides), trust=self.settings.trust)

    def written(self, search: Search, form: str, overrides: Sequence[str] = ()) -> str:
        """The front of a search as `nas front --format` writes it; the overrides as in `open`."""
        summary = None if overrides else read_summary(self.folders.at(search.id).path)
        found = summary or self.open(search, overrides).summary()
        return found.table.to_text() if form == "table" else found.front[form]

    def made(self, search: Search, name: str, make: Callable[[nas.Search], str], overrides: Sequence[str] = ()) -> str:
        """What `make` makes of a search, kept under a name where nothing is overridden; the overrides as in `open`.

        It may look at all that there is, curves included, which is too much to stay in memory.
        """
        if overrides:
            return make(self._read(search, overrides))
        return kept(self.folders.at(search.id), name, lambda: make(self._read(search)))

    def compare(self, searches: Sequence[Search], overrides: Sequence[str] = ()) -> Comparison:
        """Several searches on one front, by their names, and where these are the same by their identities too.

        Raises:
            InputError: they may not be compared, or the overrides cannot be used.
        """
        names = Counter(search.name for search in searches)
        opened = {
            search.name if names[search.name] == 1 else f"{search.name} {search.id}": self.open(search, overrides)
            for search in searches
        }
        if len(opened) < len(searches):
            raise nas.InputError("search", ", ".join(search.id for search in searches), "different searches")
        return compare({name: Searched(o.config, o.trials, o.searched_with) for name, o in opened.items()})

    def close(self) -> None:
        """Ends this server; the searches go on."""
        self.keeper.close()
        self.database.close()
