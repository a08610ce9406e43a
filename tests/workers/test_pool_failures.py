"""What a pool does when a job, a worker or Ray itself goes wrong."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest
import torch

from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.parts.part import Part
from workers.errors import WorkersLost
from workers.jobs import run_job
from workers.pool import Workers
from workers.pools import local, open_pool, ray_settings
from workers.pools.limit import FACTOR, FLOOR, Limit
from workers.pools.local import LocalPool
from workers.testing.pools import numbers, tiny_job


def faulty(trial=0, **options):
    """A job whose layout goes wrong."""
    part = Part("tests.workers.faulty:Faulty", options)
    return replace(tiny_job(trial), layout=Layout((Block(part),)))


def outcome_of(pool, *jobs):
    """The outcomes of jobs, one after the other."""
    found = []
    for job in jobs:
        pool.submit(job)
        while not (ended := pool.wait(1.0)):
            pass
        found += ended
    return found if len(found) > 1 else found[0]


class TestLocal:
    @pytest.fixture
    def pool(self):
        with closing(LocalPool(Workers(pool="local"))) as pool:
            yield pool

    def test_a_job_that_ends_its_process_costs_itself_alone(self, pool):
        threads = torch.get_num_threads(), threading.active_count()
        ended, after = outcome_of(pool, faulty(how="exit"), tiny_job(1))
        assert ended.lost and ended.fault == "worker" and "code 3" in ended.error
        assert after.error is None
        assert (torch.get_num_threads(), threading.active_count()) == threads

    def test_a_request_to_exit_is_an_error_of_the_layout(self, pool):
        ended = outcome_of(pool, faulty(how="system_exit"))
        assert ended.fault == "layout" and not ended.lost and "SystemExit: 4" in ended.error

    def test_a_killed_process_is_told_apart(self, pool):
        pool.submit(faulty(how="hang"))
        while not pool._running:
            pool.wait(0.1)
        os.kill(pool._worker._process.pid, signal.SIGKILL)
        (ended,) = pool.wait(30)
        assert ended.fault == "worker" and "SIGKILL" in ended.error

    def test_a_process_that_ended_with_nothing_to_do_costs_no_job(self, pool):
        outcome_of(pool, tiny_job(0))
        os.kill(pool._worker._process.pid, signal.SIGKILL)
        pool._worker._process.wait()
        assert outcome_of(pool, tiny_job(1)).error is None

    def test_a_hung_job_is_ended(self):
        with closing(LocalPool(Workers(pool="local", timeout=2))) as pool:
            hung = outcome_of(pool, faulty(how="hang"))
            pool._limit = Limit(None)
            assert outcome_of(pool, tiny_job(1)).error is None
        assert hung.lost and hung.fault == "time" and "2 s (workers.timeout)" in hung.error

    def test_what_jobs_print_is_kept_from_standard_output(self, capfd, monkeypatch):
        monkeypatch.setenv("A_PROCESS_OF_ITS_OWN", "1")
        with closing(LocalPool(Workers(pool="local"))) as pool:
            assert outcome_of(pool, faulty(how="print")).error is None
        out, err = capfd.readouterr()
        assert "printed by a job" in err and out == ""

    def test_a_process_that_does_not_start_ends_it(self, monkeypatch):
        monkeypatch.setattr(local.sys, "executable", "/bin/false")
        monkeypatch.setenv("A_PROCESS_OF_ITS_OWN", "2")
        with closing(LocalPool(Workers(pool="local"))) as pool:
            pool.submit(tiny_job(0))
            with pytest.raises(WorkersLost, match=r"does not start.*code 1"):
                pool.wait(30)

    def test_the_process_ends_with_its_parent(self):
        program = (
            "import os, signal; from workers.pool import Workers; from workers.pools import open_pool;"
            "pool = open_pool(Workers(pool='local'));"
            "from tests.workers.test_pool_failures import *; pool.submit(faulty(how='hang'));"
            "exec('while not pool._running: pool.wait(0.1)');"
            "print(pool._worker._process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        child = int(done.stdout)
        for _ in range(100):
            if not _runs(child):
                return
            time.sleep(0.1)
        pytest.fail("it outlives its parent")


def _runs(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class TestLimits:
    def test_a_limit_that_is_set(self):
        limit = Limit(7.0)
        limit.saw(100.0)
        assert limit.of(100.0) == 7.0

    def test_the_first_job_has_a_limit(self):
        assert Limit(None).of(0.0) == FLOOR
        assert Limit(None).of(FLOOR) == FACTOR * FLOOR, "by its first steps"

    def test_it_follows_from_what_was_seen(self):
        limit = Limit(None)
        limit.saw(FLOOR)
        limit.saw(1.0)
        assert limit.of(2.0) == FACTOR * FLOOR

    @pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf")])
    def test_what_is_no_limit(self, timeout):
        with pytest.raises(InputError, match=r"workers\.timeout"):
            Workers(timeout=timeout)

    def test_a_job_says_how_long_it_will_take(self):
        job = replace(tiny_job(0), training=replace(tiny_job(0).training, steps=25, evaluations=5))
        told = []
        outcome = run_job(job, told.append)
        assert len(told) == 1 and told[0] > 0
        assert [step for step, _ in outcome.results[0].curves["recall"]] == [5, 10, 15, 20, 25]
        assert numbers(outcome) == numbers(run_job(job))


class TestRay:
    def test_all_ports_are_out_of_reach_of_other_machines(self, ray_pool):
        outcome_of(ray_pool, tiny_job(0))
        ports = _ports()
        assert len(ports) >= 4 and {address for address, _ in ports} == {"127.0.0.1"}

    @pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces are for root")
    def test_no_port_answers_another_host(self, ray_pool, other_host):
        ports = [port for _, port in _ports()]
        with socket.create_server(("0.0.0.0", 0)) as control:
            open_port = control.getsockname()[1]
            found = other_host([open_port, *ports])
        assert found == [open_port]

    def test_a_client_needs_the_token(self, ray_pool):
        gcs = ray_pool._ray.get_runtime_context().gcs_address
        program = f"from ray._raylet import GcsClient; print(GcsClient(address='{gcs}').cluster_id)"

        def client(**changes):
            environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
            return subprocess.run(
                [sys.executable, "-c", program],
                env=environment | {"RAY_AUTH_MODE": "token"} | changes,
                capture_output=True,
                text=True,
                check=False,
            )

        path = os.environ["RAY_AUTH_TOKEN_PATH"]
        assert client(RAY_AUTH_TOKEN_PATH=path).returncode == 0
        assert os.stat(path).st_mode & 0o077 == 0 and os.stat(os.path.dirname(path)).st_mode & 0o077 == 0
        for refused in (client(RAY_AUTH_TOKEN="0" * 64), client(RAY_AUTH_MODE="disabled")):
            assert refused.returncode != 0 and "InvalidAuthToken" in refused.stderr

    @pytest.mark.parametrize(
        "changes, named",
        [({"RAY_AUTH_TOKEN": "0" * 64}, "RAY_AUTH_TOKEN"), ({"RAY_AUTH_MODE": "disabled"}, "RAY_AUTH_MODE=disabled")],
        ids=["wrong", "none"],
    )
    def test_a_search_with_a_wrong_token_says_so(self, ray_pool, changes, named):
        gcs = ray_pool._ray.get_runtime_context().gcs_address
        program = "from workers.pools import open_pool; from workers.pool import Workers; "
        program += f"open_pool(Workers(address='{gcs}'))"
        done = subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, **changes}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        last = done.stderr.strip().splitlines()[-1]
        assert f"workers.address={gcs}: expected a Ray cluster that takes the token of {named}" in last
        assert "docs/workers.md" in last

    def test_a_job_that_ends_its_process_costs_itself_alone(self, ray_pool):
        ended, after = outcome_of(ray_pool, faulty(how="exit"), tiny_job(1))
        assert ended.lost and ended.fault == "worker" and after.error is None

    def test_a_hung_job_is_ended(self, ray_pool, monkeypatch):
        monkeypatch.setattr(ray_pool, "_limit", Limit(4.0))
        hung = outcome_of(ray_pool, faulty(how="hang"))
        monkeypatch.undo()
        assert hung.lost and hung.fault == "time" and "4 s (workers.timeout)" in hung.error
        assert outcome_of(ray_pool, tiny_job(1)).error is None

    def test_the_worker_tells_how_long_a_job_will_take(self, ray_pool):
        ray_pool.submit(replace(tiny_job(0), training=replace(tiny_job(0).training, steps=5000)))
        (task,) = _tasks(ray_pool)
        while not task.expected:
            assert ray_pool.wait(0.1) == []
        ray_pool._limit = Limit(0.001)
        (ended,) = ray_pool.wait(1.0)
        ray_pool._limit = Limit(None)
        assert ended.fault == "time"

    def test_workers_that_do_not_start_are_a_lost_ray(self, ray_pool, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr("workers.pools.ray.START", -1.0)
            patch.setattr(ray_pool, "_ask", lambda task: None)
            patch.setattr(ray_pool, "_fall", lambda gone: [gone])
            ray_pool.submit(tiny_job(0))
            assert ray_pool.wait(0.0) == ["no worker process starts"]
        while not (ended := ray_pool.wait(1.0)):
            pass
        assert ended[0].error is None

    def test_a_killed_raylet_is_noticed_and_ray_had_back(self, ray_pool, caplog):
        """The last one here: Ray is another afterwards."""
        ray_pool.submit(faulty(how="hang"))
        (task,) = _tasks(ray_pool)
        node = ray_pool._ray._private.worker._global_node
        (raylet,) = (process for name, process in node.live_processes() if name == "raylet")
        os.kill(raylet.pid, signal.SIGKILL)
        raylet.wait()
        (lost,) = ray_pool.wait(1.0)
        assert lost.job == task.job and lost.lost and lost.fault == "node"
        assert "Ray was lost (raylet)" in caplog.text
        assert outcome_of(ray_pool, tiny_job(1)).error is None
        assert {address for address, _ in _ports()} == {"127.0.0.1"}


def test_nothing_of_a_ray_of_our_own_outlives_a_killed_process():
    program = (
        "import os, signal; from pathlib import Path;"
        "from workers.pool import Workers; from workers.pools import open_pool;"
        "pool = open_pool(Workers(pool='ray', count=1));"
        "node = pool._ray._private.worker._global_node;"
        "own = [p.process.pid for kind in node.all_processes.values() for p in kind];"
        "agents = [n for p in own for n in Path(f'/proc/{p}/task/{p}/children').read_text().split()];"
        "print(*own, *agents, Path(os.environ['RAY_AUTH_TOKEN_PATH']).parent, len(agents), flush=True);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    *processes, folder, agents = done.stdout.splitlines()[-1].split()
    assert int(agents) >= 1
    end = time.monotonic() + 30
    while time.monotonic() < end and (any(_runs(p) for p in processes) or os.path.exists(folder)):
        time.sleep(0.2)
    assert not [p for p in processes if _runs(p)] and not os.path.exists(folder)


def _tasks(pool):
    while not pool._running:
        assert pool.wait(0.1) == []
    return list(pool._running.values())


def _ports():
    """(address, port) of every socket that this process and those under it listen on."""
    import psutil

    this = psutil.Process()
    found = []
    for process in [this, *this.children(recursive=True)]:
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                found.append((connection.laddr.ip.removeprefix("::ffff:"), connection.laddr.port))
    return found


@pytest.fixture
def other_host():
    """A function: ports -> those that answer to a second host, which is a network namespace beside this one."""
    name, here, there = "nas-test", "10.231.77.1", "10.231.77.2"

    def ip(*arguments):
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    def look(ports):
        program = (
            "import socket, sys\n"
            f"for port in {list(ports)}:\n"
            f"    if not (s := socket.socket()).connect_ex(('{here}', port)): print(port)\n"
        )
        command = ["ip", "netns", "exec", name, sys.executable, "-c", program]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return [int(port) for port in done.stdout.split()]

    try:
        ip("netns", "add", name)
        ip("link", "add", "nas-here", "type", "veth", "peer", "name", "nas-there", "netns", name)
        ip("addr", "add", f"{here}/24", "dev", "nas-here")
        ip("link", "set", "nas-here", "up")
        ip("-n", name, "addr", "add", f"{there}/24", "dev", "nas-there")
        ip("-n", name, "link", "set", "nas-there", "up")
    except (OSError, subprocess.CalledProcessError) as error:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        pytest.skip(f"no network namespaces here: {error}")
    yield look
    subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


class TestRaySettings:
    @pytest.fixture(autouse=True)
    def environment(self, monkeypatch, tmp_path):
        for name in (*ray_settings.CLOSED, *ray_settings.TOKENS):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        yield
        for name in (*ray_settings.CLOSED, *ray_settings.TOKENS):
            os.environ.pop(name, None)  # the fixture puts back what was there

    def test_a_ray_that_was_imported_before_is_warned_of(self, monkeypatch, caplog):
        monkeypatch.setitem(sys.modules, "ray", object())
        ray_settings.prepare(None)
        assert "may be open to other machines" in caplog.text

    def test_a_cluster_has_to_have_a_token(self, monkeypatch):
        with pytest.raises(InputError, match="RAY_AUTH_TOKEN_PATH"):
            ray_settings.prepare("auto")
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        ray_settings.prepare("auto")
        assert "RAY_AUTH_TOKEN_PATH" not in os.environ

    def test_nothing_that_the_user_set_is_changed(self, monkeypatch):
        monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
        ray_settings.prepare(None)
        assert "RAY_AUTH_TOKEN_PATH" not in os.environ and os.environ["RAY_AUTH_TOKEN"] == "0" * 64


def test_more_gpus_than_there_are_start_no_ray(monkeypatch):
    monkeypatch.setattr("workers.pools.ray.RayPool._connect", lambda pool: pytest.fail("Ray was started"))
    with pytest.raises(InputError, match=r"workers\.gpus=64"):
        open_pool(Workers(gpus=64))
