"""What the queue's transactions share: rows that are found, added and noted about."""

from dataclasses import asdict

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from nas.service.database import clock
from nas.service.errors import Missing
from nas.service.folders import Submission
from nas.service.tables import Event, Search

RESTS = {"pause": "paused", "stop": "stopped"}
"""What is wanted -> state of a search that does not run then."""


def add(session: Session, identity: str, asked: Submission, by: str, what: str) -> Search:
    """A new search.

    Raises:
        sqlalchemy.exc.IntegrityError: it is there already.
    """
    know(session, asked.owner)
    fields = {name: value for name, value in asdict(asked).items() if name != "budget"}
    search = Search(**fields, id=identity, state="queued", changed=0.0, version=0, starts=0, crashes=0)
    session.add(search)
    session.flush()
    note(session, search, by, what)
    return search


def find(session: Session, identity: str, owner: str | None = None, lock: bool = False) -> Search:
    """A search; of one owner, where one is given. With `lock`, nobody else changes it before the transaction ends.

    Raises:
        Missing: there is none.
    """
    query = select(Search).where(Search.id == identity)
    search = session.scalar(query.with_for_update() if lock else query)
    if search is None or owner not in (None, search.owner):
        raise Missing("search", identity, "the identity of a search of yours")
    return search


def know(session: Session, owner: str) -> None:
    """Makes sure that an owner is in the table."""
    values = {"name": owner}  # two requests may be a user's first
    session.execute(text("INSERT INTO owners VALUES (:name, 0, 0) ON CONFLICT DO NOTHING"), values)


def touch(session: Session, search: Search) -> None:
    """Marks a search as changed: who watches it is told."""
    search.changed, search.version = clock(session), search.version + 1


def note(session: Session, search: Search, by: str, what: str) -> None:
    """Writes down what happened to a search, and by whom."""
    touch(session, search)
    session.add(Event(search=search.id, at=search.changed, by=by[:200], what=what[:200]))
