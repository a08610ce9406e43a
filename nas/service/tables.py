"""The tables of the queue. What cannot be made again stands in the folders of the searches, not here."""

from sqlalchemy import JSON, BigInteger, Float, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

STATES = ("queued", "running", "paused", "stopped", "complete", "failed")
WANTED = ("run", "again", "pause", "stop", "delete")
"""What is wanted of a search: "again" ends its process, and then it is "run" anew."""
OPEN = ("queued", "running", "paused")
"""States of searches that have not ended."""


class Table(DeclarativeBase):
    """What the tables share. Times are seconds since 1970, by the database's clock."""


class Service(Table):
    """One row. It says which folder belongs to the database; who takes from the queue locks it."""

    __tablename__ = "service"
    id: Mapped[int] = mapped_column(primary_key=True)
    folder: Mapped[str] = mapped_column(String(32))


class Owner(Table):
    """A user, and what their searches used: core seconds, which fade with a half-life of a day."""

    __tablename__ = "owners"
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    used: Mapped[float] = mapped_column(Float, default=0.0)
    used_at: Mapped[float] = mapped_column(Float, default=0.0)


class Token(Table):
    """What lets a client in. Of the secret only its hash is kept."""

    __tablename__ = "tokens"
    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("owners.name"))
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    scope: Mapped[str] = mapped_column(String(10))
    created: Mapped[float]
    expires: Mapped[float | None]


class Search(Table):
    """A search: whose it is, where it stands, and how far it is."""

    __tablename__ = "searches"
    __table_args__ = (Index("searches_by_state", "state", "priority", "created"), Index("searches_by_owner", "owner"))
    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("owners.name"))
    name: Mapped[str] = mapped_column(String(100))
    digest: Mapped[str] = mapped_column(String(64))
    priority: Mapped[int] = mapped_column(Integer, default=0)
    cores: Mapped[int] = mapped_column(Integer, default=1)
    gpus: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    created: Mapped[float]
    changed: Mapped[float]
    state: Mapped[str] = mapped_column(String(10), default="queued")
    wanted: Mapped[str] = mapped_column(String(10), default="run")
    version: Mapped[int] = mapped_column(BigInteger, default=0)
    starts: Mapped[int] = mapped_column(Integer, default=0)
    crashes: Mapped[int] = mapped_column(Integer, default=0)
    progress: Mapped[dict | None] = mapped_column(JSON)
    error: Mapped[str | None] = mapped_column(Text)


class Lease(Table):
    """A server's right to run a search, as long as it shows signs of life."""

    __tablename__ = "leases"
    search: Mapped[str] = mapped_column(ForeignKey("searches.id"), primary_key=True)
    server: Mapped[str] = mapped_column(String(200), index=True)
    owner: Mapped[str] = mapped_column(String(100))
    cores: Mapped[int] = mapped_column(Integer)
    gpus: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    since: Mapped[float]
    until: Mapped[float]


class Event(Table):
    """What happened to a search, and by whom."""

    __tablename__ = "events"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    search: Mapped[str] = mapped_column(String(16), index=True)
    at: Mapped[float]
    by: Mapped[str] = mapped_column(String(200))
    what: Mapped[str] = mapped_column(String(200))
