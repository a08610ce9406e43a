"""A Ray cluster of one machine, started by Ray's own command."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ATTEMPTS, STARTS = 8, 120
"""How often a cluster is started, and the seconds that it has for it: Ray gives up where its own processes take more
than 15 s to begin, as on a machine that has more to do."""
AGENTS = (
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "metrics-export-port",
    "node-manager-port",
    "object-manager-port",
)
"""Ports that Ray would choose itself, and that several clusters would have to share."""


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs.

    Args:
        dashboard: address for its jobs.
        address: for those who join it.
        process: that runs all of it.
    """

    dashboard: str
    address: str
    process: subprocess.Popen


@contextmanager
def cluster(cores: int) -> Iterator[Cluster]:
    """One with that many cores, on the loopback interface alone, that asks for a token. Who starts processes within the
    context has the variables by which Ray finds it."""
    place = Path(tempfile.mkdtemp(prefix="nas-ray-"))  # paths of sockets are short
    (place / "token").touch(0o600)
    (place / "token").write_text(secrets.token_hex(32))
    variables = {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(place / "token"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_raylet_start_wait_time_s": str(STARTS),
        "RAY_agent_register_timeout_ms": str(1000 * STARTS),
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    _forget_token()
    head, dashboard, *others = _ports(len(AGENTS) + 2)
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--include-dashboard=true"]
    ports = {"port": head, "dashboard-port": dashboard, **dict(zip(AGENTS, others, strict=True))}
    sizes = {"num-cpus": cores, "object-store-memory": 100 * 2**20}
    options = [f"--{name}={value}" for name, value in {**ports, **sizes, "temp-dir": place}.items()]
    process = None
    try:
        for _ in range(ATTEMPTS):
            with (place / "log").open("w") as log:
                process = subprocess.Popen([*ray, *options], stdout=log, stderr=log, start_new_session=True)
            if _begins(process, dashboard, place / "log"):
                break
            _end(process)
        else:
            raise OSError((place / "log").read_text())
        yield Cluster(f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{head}", process)
    finally:
        if process is not None:
            _end(process)
        shutil.rmtree(place, ignore_errors=True)
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        _forget_token()


def _forget_token() -> None:
    """Makes Ray read the token anew: a process keeps the first one, and that may be another cluster's."""
    from ray._raylet import AuthenticationTokenLoader

    AuthenticationTokenLoader.instance().reset_cache()


def _begins(process: subprocess.Popen, dashboard: int, log: Path) -> bool:
    """Waits until the cluster runs and its dashboard takes jobs; returns False if it does not come to that."""
    from ray.job_submission import JobSubmissionClient

    def ready() -> bool:
        with suppress(OSError, RuntimeError):
            JobSubmissionClient(f"http://127.0.0.1:{dashboard}").list_jobs()
            return True
        return False

    end = time.monotonic() + STARTS
    while "Ray runtime started" not in log.read_text() or not ready():
        if process.poll() is not None or time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


def _end(process: subprocess.Popen) -> None:
    ours = below(process.pid)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)
    for each in [process.pid, *ours]:
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    process.wait()


def below(pid: int) -> list[int]:
    """The processes that a process started, and those that they started."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    return [each for child in map(int, found) for each in (child, *below(child))]


def _ports(count: int) -> list[int]:
    """Free ones below those that Ray gives to its workers."""
    found: list[int] = []
    for port in range(6500 + os.getpid() % 3000, 9999):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise OSError("no ports are free")
