"""What servers take from the queue, and give back.

A search is taken by one server at a time, which holds a lease as long as it shows signs of life. All times are the
database's.
"""

from collections import Counter
from typing import Any

from sqlalchemy import delete, select, update

from nas.service.database import Database, clock
from nas.service.rows import RESTS, find, note, touch
from nas.service.settings import Settings
from nas.service.tables import Event, Lease, Owner, Search, Service

HALF_LIFE = 24 * 3600.0
"""Seconds after which what a user's searches used counts half."""
CRASHES = 3
"""How often the process of a search may end by itself without having recorded a run."""


class Leases:
    """Who runs what."""

    def __init__(self, database: Database, settings: Settings):
        self.database, self.settings = database, settings

    def claim(self, server: str, cores: int, gpus: int = 0) -> Search | None:
        """Takes the next search for a server that has so many cores and GPUs; None where none may run now.

        The order is priority, then the user whose searches hold the fewest cores, then the one whose used the least of
        late, then age. A search that does not fit in yet is waited for, so that small ones do not hold up large ones.
        """
        fits = (Search.cores <= cores, Search.gpus <= gpus)
        with self.database.write() as session:
            session.execute(select(Service).with_for_update())
            time = clock(session)
            held, held_gpus = Counter[str](), Counter[str]()
            for lease in session.scalars(select(Lease)):
                held[lease.owner] += lease.cores
                held_gpus[lease.owner] += lease.gpus
                if lease.server == server:
                    cores, gpus = cores - lease.cores, gpus - lease.gpus
            owners = {owner.name: _faded(owner, time) for owner in session.scalars(select(Owner))}
            waits = (Search.state == "queued", Search.wanted == "run")
            waiting = session.scalars(select(Search).where(*waits, *fits)).all()
            for search in sorted(waiting, key=lambda s: (-s.priority, held[s.owner], owners[s.owner], s.created, s.id)):
                owner = search.owner
                if held[owner] + search.cores > self.settings.quota_of(owner):
                    continue
                if held_gpus[owner] + search.gpus > self.settings.gpu_quota_of(owner):
                    continue
                if search.cores > cores or search.gpus > gpus:
                    return None
                lease = Lease(search=search.id, server=server, owner=owner, cores=search.cores, gpus=search.gpus)
                lease.since, lease.until = time, time + self.settings.lease
                session.add(lease)
                search.state, search.starts = "running", search.starts + 1
                note(session, search, server, "taken")
                return search
        return None

    def extend(self, server: str) -> list[Search]:
        """A server's sign of life: its leases go on. Returns the searches that it holds."""
        with self.database.write() as session:
            until = clock(session) + self.settings.lease
            session.execute(update(Lease).where(Lease.server == server).values(until=until))
            held = select(Search).join(Lease, Lease.search == Search.id).where(Lease.server == server)
            return list(session.scalars(held))

    def all(self) -> tuple[float, list[Lease]]:
        """What time it is, and all leases."""
        with self.database.read() as session:
            return clock(session), list(session.scalars(select(Lease)))

    def take_over(self, lease: Lease, server: str) -> bool:
        """Makes a server's lease that of another one, if it is still as it was seen."""
        same = (Lease.search == lease.search, Lease.server == lease.server, Lease.until == lease.until)
        with self.database.write() as session:
            search = find(session, lease.search, lock=True)
            values = {"server": server, "until": clock(session) + self.settings.lease}
            found = session.execute(update(Lease).where(*same).values(**values).returning(Lease.search)).first()
            if found:
                note(session, search, server, f"taken over from {lease.server}")
            return found is not None

    def advance(self, identity: str, progress: dict[str, Any] | None) -> None:
        """Notes how far a search is."""
        with self.database.write() as session:
            search = find(session, identity, lock=True)
            if search.progress != progress:
                search.progress = progress
                touch(session, search)

    def release(
        self, identity: str, server: str, ending: str | None, error: str | None, progress: dict | None, recorded: bool
    ) -> None:
        """Gives a lease back when the process of a search has ended, and says what becomes of the search.

        Args:
            identity: of the search.
            server: that holds the lease; nothing happens if it lost it.
            ending: as in `folders.Process`; None where the process was killed.
            error: likewise.
            progress: likewise.
            recorded: whether the process recorded a run, or was lost with the place where it ran.
        """
        with self.database.write() as session:
            search = find(session, identity, lock=True)
            lease = session.get(Lease, identity)
            if lease is None or lease.server != server:
                return
            owner = session.get_one(Owner, search.owner, with_for_update=True)
            time = clock(session)
            owner.used, owner.used_at = _faded(owner, time) + lease.cores * (time - lease.since), time
            session.delete(lease)
            search.progress = progress or search.progress
            search.state, search.error = _after(search, ending, error, recorded)
            note(session, search, server, search.state if search.error is None else f"{search.state}: {search.error}")

    def deleted(self) -> list[str]:
        """Searches that are to be removed, and that no server holds."""
        with self.database.read() as session:
            query = select(Search.id).outerjoin(Lease, Lease.search == Search.id)
            return list(session.scalars(query.where(Search.wanted == "delete", Lease.search.is_(None))))

    def remove(self, identity: str) -> None:
        """Takes a search out of the queue; its folder is gone."""
        with self.database.write() as session:
            session.execute(delete(Event).where(Event.search == identity))
            session.execute(delete(Search).where(Search.id == identity))


def _after(search: Search, ending: str | None, error: str | None, recorded: bool) -> tuple[str, str | None]:
    """State and error of a search whose process has ended."""
    if search.wanted == "again":
        search.wanted = "run"
        return "queued", None
    if ending in ("complete", "failed"):
        return ending, error and error[:2000]
    if ending is None and search.wanted == "run":
        search.crashes = 1 if recorded else search.crashes + 1
        if search.crashes >= CRASHES:
            return "failed", f"its process ended {search.crashes} times without a result; search.log may say why"
    return RESTS.get(search.wanted, "queued"), None


def _faded(owner: Owner, time: float) -> float:
    """Core seconds that the owner's searches used, older ones counting less."""
    return owner.used * 0.5 ** ((time - owner.used_at) / HALF_LIFE)
