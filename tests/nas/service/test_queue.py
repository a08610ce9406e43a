"""The queue on SQLite and on PostgreSQL: order, quotas, leases, idempotence."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import inspect, update

from nas.service.database import Database, clock
from nas.service.errors import Conflict, Missing
from nas.service.queue import Queue
from nas.service.tables import Lease, Owner, Search, Table
from search_space.errors import InputError
from tests.nas.service.conftest import identity


def put(house, number, **fields):
    return house.submit(identity(number), created=float(number), **fields)[0]


def taken(house, server="a", cores=4, gpus=0):
    """The numbers of the searches that a server takes, in order."""
    found = []
    while (search := house.leases.claim(server, cores, gpus)) is not None:
        found.append(int(search.id, 16))
    return found


def test_migrations_make_the_tables(house):
    found = inspect(house.database.engine)
    for name, table in Table.metadata.tables.items():
        made = {column["name"]: column["nullable"] for column in found.get_columns(name)}
        assert made == {column.name: column.nullable for column in table.columns}
    Database(house.settings.database_url, house.settings.root).open().close()  # a second time


def test_a_database_has_one_folder(house, tmp_path):
    with pytest.raises(InputError, match="the folder that belongs to the database"):
        Database(house.settings.database_url, tmp_path / "other").open()


def test_the_same_request_twice_is_one_search(house):
    first, new = house.submit(digest="x")
    again, same = house.submit(digest="x")
    assert (new, same) == (True, False) and first.id == again.id and len(house.queue.searches()) == 1
    with pytest.raises(Conflict, match="key"):
        house.submit(digest="y")


def test_requests_at_once_are_one_search(house):
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: house.submit(digest="x"), range(16)))
    assert sum(new for _, new in found) == 1 and len(house.queue.searches()) == 1


def test_priority_then_fair_share_then_age(house):
    for number, owner, priority in ((1, "ann", 0), (2, "ann", 0), (3, "bob", 0), (4, "ann", 5), (5, "bob", -5)):
        put(house, number, owner=owner, priority=priority)
    assert taken(house, cores=9) == [4, 3, 1, 2, 5]


def test_who_used_less_of_late_is_first(house):
    put(house, 1, owner="ann")
    put(house, 2, owner="bob")
    with house.database.write() as session:
        session.execute(update(Owner).where(Owner.name == "ann").values(used=100.0, used_at=clock(session)))
    assert taken(house) == [2, 1]


def test_quota_of_a_user(house):
    house.leases.settings = house.settings.model_copy(update={"quota": 2, "quotas": {"bob": 1}})
    for number, owner in ((1, "ann"), (2, "ann"), (3, "ann"), (4, "bob"), (5, "bob")):
        put(house, number, owner=owner)
    assert taken(house, cores=9) == [1, 4, 2]


def test_quota_of_gpus(house):
    house.leases.settings = house.settings.model_copy(update={"gpu_quota": 2, "gpu_quotas": {"bob": 0, "eve": 4}})
    for number, owner, gpus in (
        (1, "ann", 1),
        (2, "ann", 2),
        (3, "ann", 1),
        (4, "bob", 1),
        (5, "bob", 0),
        (6, "eve", 3),
    ):
        put(house, number, owner=owner, gpus=gpus)
    assert taken(house, cores=9, gpus=9) == [1, 5, 6, 3]
    house.leases.release(identity(1), "a", "complete", None, None, True)
    house.leases.release(identity(3), "a", "complete", None, None, True)
    assert taken(house, cores=9, gpus=9) == [2]


def test_gpus_of_a_server(house):
    for number, gpus in ((1, 2), (2, 2), (3, 1), (4, 0)):
        put(house, number, gpus=gpus)
    assert taken(house) == [4]  # a server without GPUs leaves the others to those that have some
    assert taken(house, "b", 9, 3) == [1]  # the second is waited for
    house.leases.release(identity(1), "b", "complete", None, None, True)
    assert taken(house, "b", 9, 3) == [2, 3]


def test_a_large_search_is_waited_for(house):
    put(house, 1, cores=2)
    assert taken(house) == [1]
    put(house, 2, cores=3, priority=1)
    put(house, 3, cores=1)
    assert taken(house) == []
    house.leases.release(identity(1), "a", "complete", None, None, True)
    assert taken(house) == [2, 3]


def test_what_never_fits_waits_for_a_larger_server(house):
    put(house, 1, cores=8, priority=1)
    put(house, 2)
    assert taken(house) == [2] and taken(house, "b", 8) == [1]


def test_servers_at_once_take_each_search_once_and_keep_to_the_quota(house):
    house.leases.settings = house.settings.model_copy(update={"quota": 5})
    for number in range(12):
        put(house, number, owner=("ann", "bob")[number % 2])
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda server: taken(house, server, 4), "abcd"))
    numbers = [number for each in found for number in each]
    assert len(numbers) == len(set(numbers)) == 10
    assert sum(number % 2 for number in numbers) == 5


def test_a_lease_is_taken_over_once(house):
    put(house, 1)
    taken(house)
    _, (seen,) = house.leases.all()
    assert house.leases.take_over(seen, "b") and not house.leases.take_over(seen, "c")
    assert [search.id for search in house.leases.extend("b")] == [identity(1)] and house.leases.extend("a") == []
    house.leases.release(identity(1), "a", "complete", None, None, True)  # it lost the lease
    assert house.state(identity(1)) == "running"


def test_a_sign_of_life_makes_the_lease_longer(house):
    put(house, 1)
    taken(house)
    with house.database.write() as session:
        session.execute(update(Lease).values(until=0.0))
    house.leases.extend("a")
    now, (lease,) = house.leases.all()
    assert lease.until > now


def test_core_seconds_are_counted(house):
    put(house, 1, cores=3)
    taken(house)
    with house.database.write() as session:
        session.execute(update(Lease).values(since=clock(session) - 100.0))
    house.leases.release(identity(1), "a", "complete", None, None, True)
    with house.database.read() as session:
        assert 299 < session.get_one(Owner, "ann").used < 400


ENDINGS = [
    ("run", "complete", "complete"),
    ("run", "failed", "failed"),
    ("run", "interrupted", "queued"),
    ("run", None, "queued"),
    ("pause", "interrupted", "paused"),
    ("pause", None, "paused"),
    ("pause", "complete", "complete"),
    ("stop", "interrupted", "stopped"),
]


@pytest.mark.parametrize(("wanted", "ending", "state"), ENDINGS)
def test_what_becomes_of_a_search(house, wanted, ending, state):
    put(house, 1)
    taken(house)
    if wanted != "run":
        assert house.queue.want(identity(1), "ann", wanted, "ann").state == "running"
    house.leases.release(identity(1), "a", ending, None, None, True)
    assert house.state(identity(1)) == state and house.leases.all()[1] == []


def test_a_process_that_dies_at_once_is_not_started_for_ever(house):
    put(house, 1)
    for recorded, state in ((False, "queued"), (True, "queued"), (False, "queued"), (False, "failed")):
        assert taken(house) == [1]
        house.leases.release(identity(1), "a", None, None, None, recorded)
        assert house.state(identity(1)) == state
    assert "3 times" in house.queue.get(identity(1)).error


def test_stop_pause_resume(house):
    put(house, 1)
    want = house.queue.want
    assert want(identity(1), "ann", "pause", "ann").state == "paused" and taken(house) == []
    assert want(identity(1), "ann", "run", "ann").state == "queued"
    assert want(identity(1), "ann", "stop", "ann").state == "stopped"
    with pytest.raises(Conflict):
        want(identity(1), "ann", "pause", "ann")
    with pytest.raises(Missing):
        want(identity(1), "bob", "run", "bob")
    assert want(identity(1), "ann", "run", "ann").state == "queued"
    assert [event.what for event in house.queue.events(identity(1))] == [
        *("submitted", "pause", "resume", "stop", "resume"),
    ]


def test_a_larger_budget_counts_though_the_search_had_just_ended(house):
    put(house, 1)
    taken(house)
    assert house.queue.want(identity(1), "ann", "run", "ann", "prolonged").wanted == "again"
    house.leases.release(identity(1), "a", "complete", None, None, True)
    assert taken(house) == [1] and house.queue.get(identity(1)).wanted == "run"


def test_most_open_searches(house):
    limits = house.settings.limits.model_copy(update={"open": 2})
    house.queue.settings = house.settings.model_copy(update={"limits": limits})
    put(house, 1), put(house, 2), put(house, 3, owner="bob")
    with pytest.raises(Conflict, match="at most 2"):
        put(house, 4)
    house.queue.want(identity(1), "ann", "stop", "ann")
    put(house, 4)
    with pytest.raises(Conflict, match="at most 2"):
        house.queue.want(identity(1), "ann", "run", "ann")


def test_lists(house):
    for number in range(5):
        put(house, number, owner=("ann", "bob")[number % 2], name=f"a%{number}")
    numbers = lambda **which: [int(search.id, 16) for search in house.queue.searches(**which)]  # noqa: E731
    assert numbers() == [4, 3, 2, 1, 0] and numbers(owner="bob") == [3, 1]
    assert numbers(limit=2) == [4, 3] and numbers(limit=2, before=identity(3)) == [2, 1]
    assert numbers(name="%3") == [3] and numbers(name="a_3") == [] and numbers(states=["paused"]) == []
    with pytest.raises(Missing):
        house.queue.searches(owner="ann", before=identity(3))


def test_the_index_is_rebuilt_from_the_folders(house, tmp_path):
    for number, wanted in ((1, "run"), (2, "pause"), (3, "stop")):
        put(house, number)
        place = house.folders.at(identity(number))
        place.submission = replace(place.submission, wanted=wanted)
    (house.folders.root / ("f" * 16)).mkdir()  # somebody else's
    before = {search.id: (search.owner, search.name, search.digest) for search in house.queue.searches()}
    (house.settings.root / "lost.db").unlink(missing_ok=True)
    new = Database(f"sqlite:///{house.settings.root / 'lost.db'}", house.settings.root).open()
    keeper = house.keeper()
    keeper.queue = Queue(new, house.settings)
    keeper.index()
    keeper.index()
    found = keeper.queue.searches()
    assert {search.id: (search.owner, search.name, search.digest) for search in found} == before
    assert [search.state for search in found] == ["stopped", "paused", "queued"]
    new.close()


def test_versions_grow_with_every_change(house):
    first = put(house, 1).version
    house.leases.advance(identity(1), {"trials": 1})
    second = house.queue.get(identity(1)).version
    house.leases.advance(identity(1), {"trials": 1})
    assert first < second == house.queue.get(identity(1)).version


def test_removal(house):
    put(house, 1)
    taken(house)
    house.queue.want(identity(1), "ann", "delete", "ann")
    assert house.leases.deleted() == []
    house.leases.release(identity(1), "a", "interrupted", None, None, True)
    assert house.leases.deleted() == [identity(1)] and taken(house) == []
    house.leases.remove(identity(1))
    with house.database.read() as session:
        assert session.query(Search).count() == 0
