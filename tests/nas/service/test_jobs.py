"""Searches as jobs of a Ray cluster, which `ray start` has begun."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

import nas
from nas.service.child import BUSY
from nas.service.folders import born
from nas.service.settings import load_settings
from search_space.errors import InputError
from tests.conftest import TINY
from tests.nas.service.clusters import cluster
from tests.nas.service.conftest import identity

pytest.importorskip("aiohttp_cors", reason="no dashboard of Ray here: pip install 'ray[default]'")
pytestmark = pytest.mark.timeout(1800)

A, B = identity(1), identity(2)


@pytest.fixture(scope="module")
def ray():
    with cluster(cores=2) as found:
        yield found


@pytest.fixture
def database_url():
    return None


def running(house, which=A):
    return house.folders.at(which).record_bytes > 0


def alive(keeper, place):
    with suppress(ConnectionError):  # a cluster that has much to do answers late
        return keeper.runner.look(place).alive


def test_searches_run_as_jobs_and_outlive_their_server(house, ray):
    first, second = house.keeper(jobs=ray.dashboard, lease=0.0001), house.keeper(jobs=ray.dashboard)
    house.submit(A, ["search.trials=1000"])
    house.submit(B, [*(each for each in TINY if "workers" not in each), "workers.pool=ray", "workers.count=1"])
    house.until(lambda: running(house) and house.state(B) == "complete", first, seconds=1200)
    assert len(nas.open(house.folders.at(B).path).trials) == 2  # by tasks of the same cluster
    place = house.folders.at(A)
    job, process, starts = place.job, place.process, house.queue.get(A).starts
    assert job.startswith(f"nas-{A}-") and house.until(lambda: alive(second, place))
    house.until(lambda: second._held, second)  # `first` does nothing from here on
    house.until(lambda: place.record_bytes > process.record, second)
    assert place.job == job and house.queue.get(A).starts == starts

    os.killpg(process.pid, signal.SIGKILL)
    house.until(lambda: house.queue.get(A).starts > starts and place.process, second, seconds=600)
    known = place.record_bytes
    house.until(lambda: place.record_bytes > known, second, seconds=600)
    assert place.job != job and second.runner.jobs.look(job) == (False, -signal.SIGKILL)

    second.settings = second.settings.model_copy(update={"grace": 0.2})
    os.kill(place.process.pid, signal.SIGSTOP)  # it hears nothing of a stop, so its job is ended
    last = place.process
    house.queue.want(A, "ann", "stop", "ann")
    house.until(lambda: house.state(A) == "stopped", second, seconds=600)
    assert born(last.pid) != last.born and place.job is None
    records = nas.open(place.path).folder.read()
    assert len({(record.trial, record.seed) for record in records}) == len(records)


def test_a_job_that_finds_no_room_waits_and_can_be_taken_back(house, ray):
    keeper = house.keeper(jobs=ray.dashboard, cores=9, grace=0.2)
    house.submit(A, cores=9)  # more than the cluster has
    house.until(lambda: house.folders.at(A).job, keeper)
    house.until(lambda: alive(keeper, house.folders.at(A)))
    assert house.folders.at(A).process is None
    house.queue.want(A, "ann", "stop", "ann")
    house.until(lambda: house.state(A) == "stopped", keeper, seconds=300)
    late = [sys.executable, "-P", "-m", "nas.service.child", str(house.folders.at(A).path), "--job", "nas-late"]
    assert subprocess.run(late, env={**os.environ, "PYTHONPATH": os.getcwd()}, check=False).returncode == BUSY
    assert house.folders.at(A).process is None  # the job, where it finds room after all


def test_a_cluster_that_is_away_costs_no_search(house, ray):
    keeper = house.keeper(jobs="http://127.0.0.1:9")
    house.submit(A)
    for _ in range(10):
        keeper.step()
    assert house.state(A) == "running"
    keeper.runner = house.keeper(jobs=ray.dashboard).runner  # it is back, and knows of no such job
    house.until(lambda: house.state(A) == "complete", keeper, seconds=600)
    assert house.queue.get(A).starts > 1


def test_the_token_is_needed(house, ray, monkeypatch, tmp_path):
    with pytest.raises(InputError, match="jobs"):
        load_settings(None, ["jobs='127.0.0.1:8265'"])
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match="a cluster with a token"):
        house.keeper(jobs=ray.dashboard)
