"""The database of the queue: SQLite or PostgreSQL, its migrations, and transactions."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from filelock import FileLock
from sqlalchemy import Connection, Engine, create_engine, event, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Float

from nas.service.tables import Service
from search_space.errors import InputError
from search_space.files import reason

PATIENCE = 30
"""Seconds that a transaction waits for another one of SQLite."""


class now(FunctionElement):  # reads like func.now()
    """The time by the database's own clock, which all servers share: seconds since 1970."""

    type = Float()
    inherit_cache = True


@compiles(now, "sqlite")
def _now_sqlite(element, compiler, **how):
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _now_postgresql(element, compiler, **how):
    return "CAST(extract(epoch from clock_timestamp()) AS double precision)"


class Database:
    """Transactions on the queue.

    Args:
        url: of the database, as SQLAlchemy takes it.
        root: the service's folder; `open` writes into it.
    """

    def __init__(self, url: str, root: Path):
        try:
            self.url = make_url(url)
            self.lite = self.url.get_backend_name() == "sqlite"
            if self.url.get_backend_name() not in ("sqlite", "postgresql"):
                raise InputError("database", self.url.get_backend_name(), "sqlite or postgresql")
            options = {"connect_args": {"timeout": PATIENCE}} if self.lite else {"pool_size": 10, "max_overflow": 30}
            self.engine: Engine = create_engine(self.url, pool_pre_ping=True, **options)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise InputError("database", "the URL", f"a database that can be used ({reason(error)})") from error
        self.root = root
        if self.lite:
            _prepare_sqlite(self.engine)
        self._writing = self.engine.execution_options(writes=True)

    def open(self) -> "Database":
        """Brings the tables up to date, and checks that the folder is the one that belongs to them.

        Raises:
            InputError: the database cannot be reached, or belongs to another folder.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / ".migrations.lock"):
            try:
                with self._writing.begin() as connection:
                    migrate(connection)
                self._check_folder()
            except SQLAlchemyError as error:
                where = self.url.render_as_string(hide_password=True)
                raise InputError("database", where, f"a database that can be reached ({reason(error)})") from error
        return self

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that only reads."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that writes; it counts when the block ends without an error."""
        with Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Gives the connections back."""
        self.engine.dispose()

    def _check_folder(self) -> None:
        mark = self.root / ".service_id"
        with self.write() as session:
            row = session.get(Service, 1)
            if row is None:
                row = Service(id=1, folder=mark.read_text().strip() if mark.exists() else secrets.token_hex(16))
                session.add(row)
                mark.write_text(row.folder)
            if not mark.exists() or mark.read_text().strip() != row.folder:
                expected = "the folder that belongs to the database; all its servers share one"
                raise InputError("folder", self.root, expected)


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection, record):
        connection.isolation_level = None  # SQLAlchemy begins and ends the transactions
        for setting in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {setting}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection):
        # A transaction that turns from reading to writing fails at once where another one writes: so it says first.
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def migrate(connection: Connection) -> None:
    """Brings the tables up to date."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(files("nas.service.migrations")))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def clock(session: Session) -> float:
    """What time it is."""
    return float(session.execute(select(now())).scalar_one())
