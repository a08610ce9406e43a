"""MLflow's own pages, opened on the front."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from pathlib import Path

from search_space.errors import InputError
from tracking.chart import chart_address
from tracking.runs import QUIET, Tracking

START_SECONDS = 90


def serve(tracking: Tracking, folder: Path, port: int | None, browse: bool) -> None:
    """Serves MLflow on this machine until it is interrupted, and says where the front is shown.

    A search that records on a server of its own is shown there: its address is printed, and nothing is started.

    Raises:
        InputError: nothing was recorded, the port is taken, or MLflow does not start.
    """
    database = folder.absolute() / "mlflow.db"
    uri = tracking.uri or f"sqlite:///{database}"
    if tracking.uri is None and not database.exists():
        raise InputError("DIR", folder, "a search that recorded to MLflow (tracking.enabled=true)")
    experiment = _experiment(uri, tracking.experiment)
    if uri.startswith("http"):
        _show(chart_address(uri.rstrip("/"), experiment), browse)
        return
    port = _free_port(port)
    server = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {**os.environ, **QUIET, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(process, server)
        _show(chart_address(server, experiment), browse)
        print("Ctrl-C ends it.", file=sys.stderr)
        process.wait()
    except KeyboardInterrupt:
        pass
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)


def _experiment(uri: str, name: str) -> str:
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        found = MlflowClient(tracking_uri=uri).get_experiment_by_name(name)
    except MlflowException as error:
        raise InputError("tracking.uri", uri, f"an MLflow server that answers ({error})") from error
    if found is None:
        raise InputError("tracking.experiment", name, f"an experiment in {uri}; nothing is recorded yet")
    return found.experiment_id


def _free_port(wanted: int | None) -> int:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", wanted or 0))
        except OSError as error:
            raise InputError("--port", wanted, f"a free port ({error.strerror})") from error
        return probe.getsockname()[1]


def _wait(process: subprocess.Popen, server: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{server}/health", timeout=2):
            return
        time.sleep(0.3)
    raise InputError("--port", server, "an MLflow server that starts; `mlflow server` says why it does not")


def _show(address: str, browse: bool) -> None:
    print(address)
    sys.stdout.flush()
    if browse:
        webbrowser.open(address)
