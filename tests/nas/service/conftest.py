import shutil
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import pytest
import uvicorn
from starlette.testclient import TestClient

import nas
from nas.service.app import create_app
from nas.service.database import Database
from nas.service.folders import Folders, Submission
from nas.service.house import House as ServedHouse
from nas.service.keeper import Keeper, me
from nas.service.leases import Leases
from nas.service.queue import Queue
from nas.service.settings import Settings
from nas.service.tokens import make_token
from tests.conftest import TINY

QUICK = [*TINY, "search.trials=2", "search.seeds=1", "tracking.enabled=false"]
"""Overrides of a search that takes a second, beside the start of its process."""


@cache
def configuration(overrides: tuple[str, ...]) -> str:
    return nas.load("smoke", [*QUICK, *overrides]).to_yaml()


@pytest.fixture(scope="session")
def postgresql():
    """URL of a PostgreSQL server, which the test machine brings in a wheel."""
    pgserver = pytest.importorskip("pgserver", reason="no PostgreSQL here: pip install pgserver 'psycopg[binary]'")
    pytest.importorskip("psycopg", reason="no driver of PostgreSQL here: pip install 'psycopg[binary]'")
    folder = tempfile.mkdtemp(prefix="nas-postgresql-")  # it makes the folders above readable to all
    server = pgserver.get_server(folder, cleanup_mode="stop")
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    if request.param == "sqlite":
        return None
    server = request.getfixturevalue("postgresql")
    name = f"t{time.time_ns()}"
    server.psql(f"CREATE DATABASE {name};")
    return server.get_uri(name)


@dataclass
class House:
    """What a server consists of, without HTTP."""

    settings: Settings
    database: Database
    queue: Queue
    leases: Leases
    folders: Folders
    keepers: list[Keeper]

    def keeper(self, **changes) -> Keeper:
        """One more server."""
        settings = self.settings.model_copy(update=changes)
        queue, leases = Queue(self.database, settings), Leases(self.database, settings)
        self.keepers.append(Keeper(queue, leases, self.folders, settings, f"{me()}/{len(self.keepers)}"))
        return self.keepers[-1]

    def submit(self, identity="0" * 16, overrides=(), **fields):
        given = {"owner": "ann", "name": "first", "digest": "d", "priority": 0, "cores": 1, "created": time.time()}
        asked = Submission(**{**given, **fields})
        self.folders.create(identity, configuration(tuple(overrides)), asked)
        return self.queue.submit(identity, asked)

    def until(self, condition, *keepers, seconds=300.0):
        """Lets the keepers work until the condition holds."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, [vars(search) for search in self.queue.searches()]
            for keeper in keepers:
                keeper.step()
            time.sleep(0.1)
        return found

    def state(self, identity="0" * 16) -> str:
        return self.queue.get(identity).state


@pytest.fixture
def house(tmp_path, database_url):
    settings = Settings(folder=str(tmp_path / "service"), database=database_url, cores=4, lease=3600.0)
    database = Database(settings.database_url, settings.root).open()
    house = House(settings, database, Queue(database, settings), Leases(database, settings), Folders(settings.root), [])
    yield house
    for keeper in house.keepers:
        for process in getattr(keeper.runner, "started", {}).values():
            process.kill()
            process.wait()
    database.close()


def identity(number: int) -> str:
    return f"{number:016x}"


@contextmanager
def served(tmp_path, run=False, **settings):
    """A client of the service in this process, and what it serves."""
    given = Settings.model_validate({"folder": str(tmp_path / "service"), "cores": 2, **settings})
    room = ServedHouse(given)
    with TestClient(create_app(room, run), base_url="http://127.0.0.1:8642", raise_server_exceptions=False) as client:
        yield client, room


@contextmanager
def listening(house, run=True):
    """URL of a server that listens, in a thread."""
    config = uvicorn.Config(create_app(house, run), host="127.0.0.1", port=0, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def bearer(house, owner="ann", scope="submit") -> dict[str, str]:
    return {"Authorization": f"Bearer {make_token(house.database, owner, scope)}"}


@pytest.fixture
def local(tmp_path):
    with served(tmp_path) as (client, _):
        yield client


LONG = ["training.steps=100000"]
SUBMIT = {"preset": "smoke", "overrides": QUICK, "name": "first"}
