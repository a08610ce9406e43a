"""MLflow's own pages, opened on the charts of searches."""

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
from dataclasses import dataclass
from pathlib import Path

from search_space.errors import InputError
from tracking.chart import charts_link, run_link, search_filter
from tracking.store import QUIET, Store, search_id
from workers.watch import if_killed

START_SECONDS = 600
STOP_SECONDS = 10


@dataclass(frozen=True)
class Shown:
    """What the pages open on.

    Args:
        store: where it is recorded.
        experiment: name of the MLflow experiment.
        key: of the view: the id of a search, or `tracking.chart.ALL`.
    """

    store: Store
    experiment: str
    key: str

    @staticmethod
    def search(folder: str | Path, uri: str | None = None, experiment: str = "nas") -> "Shown":
        """A search.

        Args:
            folder: of the search.
            uri: as for `Tracker`.
            experiment: as for `Tracker`.

        Raises:
            InputError: it was not recorded there.
        """
        store = Store.locate(folder, uri)
        if not store.exists:
            raise InputError("DIR", folder, "the folder of a search that was recorded in MLflow")
        return Shown(store, experiment, search_id(folder))


def launch_ui(shown: Shown, port: int | None = None, open_browser: bool = True) -> None:
    """Prints the addresses of charts and search in MLflow's UI, and serves the UI until Ctrl-C.

    Of what is recorded on a server it only prints the addresses.

    Args:
        shown: to open on.
        port: to serve at, on this machine alone; None takes one that is free.
        open_browser: whether to open the page.

    Raises:
        InputError: the port is taken, the store cannot be read, or it lacks the search.
    """
    with suppress(KeyboardInterrupt), serve(shown, port) as (addresses, server):
        print(*addresses, sep="\n", flush=True)
        if open_browser:
            webbrowser.open(addresses[0])
        if server is not None:
            _say("Ctrl-C ends it.")
            server.wait()


@contextmanager
def serve(shown: Shown, port: int | None = None) -> Iterator[tuple[list[str], subprocess.Popen | None]]:
    """Serves MLflow's UI as long as the context lasts, unless a server does so already.

    Yields:
        The addresses of the charts and of the search (where it is one), and the process that serves them.
    """
    store = shown.store
    if store.database is None:
        _say(f"asking {store.uri} ...")
        yield _links(shown, store.uri), None
        return
    port = _free_port(port)
    address = f"http://127.0.0.1:{port}"
    _say("starting MLflow's server, which takes 10 to 20 seconds ...")
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store.uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    # Without jobs the server takes half the memory and one process instead of ten.
    environment = {**QUIET, **os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with tempfile.TemporaryFile("w+") as log:
        # In a session of its own, so that Ctrl-C reaches it through us, and its children with it.
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            with if_killed(f"kill -9 -{server.pid}"):
                links = _links(shown, address)
                _wait(server, address, log)
                yield links, server
        finally:
            _stop(server)


def _say(text: str) -> None:
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _links(shown: Shown, address: str) -> list[str]:
    try:
        client = shown.store.connect()
        found = client.get_experiment_by_name(shown.experiment)
        searches = [] if found is None else client.search_runs([found.experiment_id], search_filter(shown.key))
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError("tracking.uri", shown.store.uri, f"a store that MLflow can read ({reason})") from error
    if found is None:
        raise InputError("tracking.experiment", shown.experiment, f"an experiment in {shown.store.uri}")
    charts = charts_link(address, found.experiment_id, shown.key)
    return [charts, *(run_link(address, found.experiment_id, each.info.run_id) for each in searches)]


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
