"""Searches as processes of their own: they outlive servers, run once, and stop when asked."""

import os
import signal
import subprocess
import sys

import pytest

import nas
from nas.service.folders import born
from nas.service.keeper import gone, me
from tests.nas.service.conftest import identity

LONG = ["search.trials=1000"]
A, B = identity(1), identity(2)


@pytest.fixture(params=["sqlite"])  # the queue itself is tested on both
def database_url(request):
    return None


def recorded(house, which=A):
    return house.folders.at(which).record_bytes > 0


def test_processes_are_told_apart():
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert born(os.getpid()) == born(os.getpid()) != born(other.pid)
    server = f"{me().partition('/')[0]}/{other.pid}/{born(other.pid)}"
    assert not gone(server) and not gone(me())
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    for _ in range(2):  # a process that nobody waited for, and one that is no more
        assert gone(server) and born(other.pid) is None
        other.wait()
    assert not gone("another machine/1/x")


def test_a_search_from_the_queue_to_its_end(house):
    keeper = house.keeper()
    house.submit(A)
    house.until(lambda: house.state(A) == "complete", keeper)
    search = house.queue.get(A)
    assert search.starts == 1 and search.progress["trials"] == 2 and house.leases.all()[1] == []
    assert len(nas.open(house.folders.at(A).path).trials) == 2
    assert [event.what for event in house.queue.events(A)] == ["submitted", "taken", "complete"]


def test_a_search_that_cannot_run_says_why(house):
    keeper = house.keeper()
    house.submit(A, ["workers.pool=ray", "workers.gpus=1"])  # which this machine has not
    (house.folders.at(A).path / "runs.jsonl").mkdir()
    house.until(lambda: house.state(A) == "failed", keeper)
    assert "a file of its own" in house.queue.get(A).error


def test_a_search_outlives_its_server_and_is_taken_over(house):
    first, second = house.keeper(lease=0.0001), house.keeper()
    house.submit(A, LONG)
    house.until(lambda: recorded(house), first)
    process = house.folders.at(A).process
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
    house.until(lambda: second._held, second)  # `first` does nothing from here on
    assert house.folders.at(A).process.pid == process.pid and house.queue.get(A).starts == 1
    first.step()
    assert first._held == {}
    house.queue.want(A, "ann", "stop", "ann")
    house.until(lambda: house.state(A) == "stopped", second)
    trials = nas.open(house.folders.at(A).path).trials
    assert [trial.number for trial in trials] == list(range(len(trials)))


def test_a_search_whose_process_was_killed_goes_on(house):
    keeper = house.keeper()
    house.submit(A, LONG)
    house.until(lambda: recorded(house), keeper)
    before = house.folders.at(A).process.pid
    os.killpg(before, signal.SIGKILL)
    house.until(lambda: house.queue.get(A).starts == 2 and house.folders.at(A).process, keeper)
    known = house.folders.at(A).record_bytes
    house.until(lambda: house.folders.at(A).record_bytes > known, keeper)
    assert house.folders.at(A).process.pid != before
    house.queue.want(A, "ann", "pause", "ann")
    house.until(lambda: house.state(A) == "paused", keeper)
    records = nas.open(house.folders.at(A).path).folder.read()
    assert len({(record.trial, record.seed) for record in records}) == len(records)
    house.queue.want(A, "ann", "delete", "ann")
    house.until(lambda: not house.folders.identities(), keeper)
    assert house.queue.searches() == []


def test_a_second_process_leaves_the_search_alone(house, monkeypatch):
    keeper = house.keeper()
    house.submit(A, LONG)
    house.until(lambda: recorded(house), keeper)
    place = house.folders.at(A)
    command = [
        sys.executable,
        "-P",
        "-c",
        "import nas.service.child as c, sys; c.PATIENCE = 0; sys.exit(c.main(sys.argv[1], False))",
    ]
    again = subprocess.run([*command, str(place.path)], env={**os.environ, "PYTHONPATH": os.getcwd()}, check=False)
    assert again.returncode == 3 and place.process.pid == keeper.runner.started[place.path].pid
    house.queue.want(A, "ann", "run", "ann", "prolonged")  # its process ends, and another one begins
    house.until(lambda: house.queue.get(A).starts == 2, keeper)
    house.queue.want(A, "ann", "stop", "ann")
    house.until(lambda: house.state(A) == "stopped", keeper)


def test_a_process_that_does_not_stop_is_killed(house):
    keeper = house.keeper(grace=0.2)
    house.submit(A, LONG)
    house.until(lambda: house.folders.at(A).process, keeper)
    os.kill(house.folders.at(A).process.pid, signal.SIGSTOP)  # it hears nothing
    house.queue.want(A, "ann", "stop", "ann")
    house.until(lambda: house.state(A) == "stopped", keeper)


def test_a_damaged_folder_holds_nobody_up(house):
    keeper = house.keeper()
    for which in (A, B):
        house.submit(which)
    (house.folders.at(A).path / "search.log").mkdir()
    house.until(lambda: house.state(A) == "failed" and house.state(B) == "complete", keeper)


def test_a_search_that_runs_is_not_removed_under_its_process(house):
    house.submit(A)
    place, keeper = house.folders.at(A), house.keeper()
    house.queue.want(A, "ann", "delete", "ann")
    with place.lock(0):
        keeper.step()
        assert place.asked_to_stop() and house.queue.get(A)
    keeper.step()
    assert not house.folders.identities() and not house.queue.searches()
