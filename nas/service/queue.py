"""The queue, as users see it: what they ask for, and what became of it."""

from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nas.service.database import Database
from nas.service.errors import Conflict
from nas.service.folders import Submission
from nas.service.rows import RESTS, add, find, note
from nas.service.settings import Settings
from nas.service.tables import OPEN, Event, Search


class Queue:
    """All searches."""

    def __init__(self, database: Database, settings: Settings):
        self.database, self.settings = database, settings

    def submit(self, identity: str, asked: Submission) -> tuple[Search, bool]:
        """Puts a search into the queue.

        Returns:
            The search, and whether it is new; it is not where the same request came before.

        Raises:
            Conflict: the key was used for another request, or the user has too many searches.
        """
        try:
            with self.database.write() as session:
                _check_open(session, self.settings.limits.open, asked.owner)
                return add(session, identity, asked, asked.owner, "submitted"), True
        except IntegrityError:
            search = self.get(identity)
        if search.digest != asked.digest:
            raise Conflict("key", "this key", "a key of your own for each request; another one has it")
        return search, False

    def restore(self, identity: str, asked: Submission, ending: str | None, progress: dict | None) -> None:
        """Puts a search back of which only the folder is left; its arguments are what the folder says."""
        with suppress(IntegrityError), self.database.write() as session:
            search = add(session, identity, asked, "service", "found in its folder")
            search.state = ending if ending in ("complete", "failed") else RESTS.get(asked.wanted, "queued")
            search.progress = progress

    def identities(self) -> set[str]:
        """All searches."""
        with self.database.read() as session:
            return set(session.scalars(select(Search.id)))

    def check_open(self, owner: str) -> None:
        """Raises Conflict if a user may not have one more search that has not ended."""
        with self.database.read() as session:
            _check_open(session, self.settings.limits.open, owner)

    def get(self, identity: str, owner: str | None = None) -> Search:
        """A search; of one owner, where one is given.

        Raises:
            Missing: there is none.
        """
        with self.database.read() as session:
            return find(session, identity, owner)

    def searches(
        self,
        owner: str | None = None,
        states: Sequence[str] = (),
        name: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Search]:
        """Searches, the newest first.

        Args:
            owner: whose; None means everybody's.
            states: that they are in; empty means any.
            name: part of their names.
            before: identity of the last one that is known already.
            limit: at most so many.
        """
        with self.database.read() as session:
            query = select(Search).order_by(Search.created.desc(), Search.id.desc()).limit(limit)
            if owner is not None:
                query = query.where(Search.owner == owner)
            if states:
                query = query.where(Search.state.in_(states))
            if name is not None:
                query = query.where(Search.name.contains(name, autoescape=True))
            if before is not None:
                last = find(session, before, owner)
                older = (Search.created == last.created) & (Search.id < last.id)
                query = query.where(or_(Search.created < last.created, older))
            return list(session.scalars(query))

    def events(self, identity: str) -> list[Event]:
        """What happened to a search, in order; the latest hundred."""
        with self.database.read() as session:
            query = select(Event).where(Event.search == identity).order_by(Event.id.desc()).limit(100)
            return list(session.scalars(query))[::-1]

    def counts(self) -> dict[str, int]:
        """State -> number of searches."""
        with self.database.read() as session:
            rows = session.execute(select(Search.state, func.count()).group_by(Search.state))
            return {state: count for state, count in rows}

    def want(self, identity: str, owner: str | None, wanted: str, by: str, what: str | None = None) -> Search:
        """Says what the owner wants of a search: run, pause, stop or delete.

        Args:
            identity: of the search.
            owner: as in `get`.
            wanted: a word of `tables.WANTED`.
            by: who asks.
            what: has happened to what its process knows, so that a process under way ends and another one begins; None
                if nothing has.

        Raises:
            Missing: there is no such search.
            Conflict: it is in another state.
        """
        with self.database.write() as session:
            search = find(session, identity, owner, lock=True)
            if search.wanted == wanted == "delete":
                return search
            if search.wanted == "delete" or (wanted in ("pause", "stop") and search.state not in OPEN):
                raise Conflict("state", "deleting" if search.wanted == "delete" else search.state, "a search under way")
            if wanted == "run" and what is None and (search.state in ("queued", "complete")):
                raise Conflict("state", search.state, "a search that waits or was stopped; a larger budget prolongs it")
            search.wanted = wanted
            if search.state == "running":
                search.wanted = "again" if what else wanted
            elif wanted != "delete":
                search.state = RESTS.get(wanted, "queued")
            if wanted == "run":
                search.crashes, search.error = 0, None
                if search.state == "queued":
                    _check_open(session, self.settings.limits.open, search.owner)
            note(session, search, by, what or {"run": "resume"}.get(wanted, wanted))
            return search


def _check_open(session: Session, most: int, owner: str) -> None:
    condition = (Search.owner == owner, Search.state.in_(OPEN))
    count = session.scalar(select(func.count()).where(*condition)) or 0
    if count >= most:
        raise Conflict("searches", count, f"at most {most} that have not ended")
