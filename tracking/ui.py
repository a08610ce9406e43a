"""MLflow's own pages, opened on the front."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from search_space.errors import InputError
from tracking.chart import front_chart_link
from tracking.store import QUIET, Store, search_id
from workers.watch import if_killed

START_SECONDS = 120
STOP_SECONDS = 10


def launch_ui(
    folder: str | Path,
    uri: str | None = None,
    experiment: str = "nas",
    port: int | None = None,
    open_browser: bool = True,
) -> None:
    """Prints the address of a search's front in MLflow's UI, and serves the UI until Ctrl-C.

    Of a search that is recorded on a server it only prints the address.

    Args:
        folder: of the search.
        uri: as for `Tracker`.
        experiment: as for `Tracker`.
        port: to serve at, on this machine alone; None takes one that is free.
        open_browser: whether to open the page.

    Raises:
        InputError: the port is taken, the store cannot be read, or it lacks the search.
    """
    with suppress(KeyboardInterrupt), serve(folder, uri, experiment, port) as (address, server):
        print(address, flush=True)
        if open_browser:
            webbrowser.open(address)
        if server is not None:
            print("Ctrl-C ends it.", file=sys.stderr, flush=True)
            server.wait()


@contextmanager
def serve(
    folder: str | Path, uri: str | None = None, experiment: str = "nas", port: int | None = None
) -> Iterator[tuple[str, subprocess.Popen | None]]:
    """Serves MLflow's UI as long as the context lasts, unless a server does so already.

    Yields:
        The address of the front's chart, and the process that serves it.
    """
    store = Store.locate(folder, uri)
    if store.database is not None and not store.database.exists():
        raise InputError("DIR", folder, "the folder of a search that was recorded in MLflow")
    if store.database is None:
        yield _link(store, store.uri, experiment, folder), None
        return
    port = _free_port(port)
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store.uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    # Without jobs the server takes half the memory and one process instead of ten.
    environment = {**QUIET, **os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with tempfile.TemporaryFile("w+") as log:
        # In a session of its own, so that Ctrl-C reaches it through us, and its children with it.
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            with if_killed(f"kill -9 -{server.pid}"):
                link = _link(store, address, experiment, folder)
                _wait(server, address, log)
                yield link, server
        finally:
            _stop(server)


def _link(store: Store, address: str, experiment: str, folder: str | Path) -> str:
    """The address of the front's chart."""
    try:
        client = store.connect()
        found = client.get_experiment_by_name(experiment)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError("tracking.uri", store.uri, f"a store that MLflow can read ({reason})") from error
    if found is None:
        raise InputError("tracking.experiment", experiment, f"an experiment in {store.uri}")
    return front_chart_link(address, found.experiment_id, search_id(folder))


def _free_port(wanted: int | None) -> int:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", wanted or 0))
        except OSError as error:
            raise InputError("--port", wanted, f"a port that is free ({error.strerror})") from error
        return probe.getsockname()[1]


def _wait(server: subprocess.Popen, address: str, log) -> None:
    """Waits until the server answers."""
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=2):
            return
        time.sleep(0.2)
    log.seek(0)
    raise RuntimeError(f"MLflow's server did not start:\n{log.read()[-2000:]}")


def _stop(server: subprocess.Popen) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, how)
        with suppress(subprocess.TimeoutExpired):
            server.wait(STOP_SECONDS)
            return
