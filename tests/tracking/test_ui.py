import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from functools import partial

import pytest

from search_space.errors import InputError
from tests.tracking.browser import browser, installed
from tests.tracking.examples import crowd
from tracking.runs import Tracker
from tracking.ui import Shown, launch_ui, serve

POINTS = "return document.querySelectorAll('.scatterlayer .point').length"
AXES = "return ['.xtitle', '.ytitle'].map(s => document.querySelector(s)?.textContent)"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, empty_database):
    """A folder with 30 trials in its database."""
    folder = tmp_path_factory.mktemp("a search, 100% é?", numbered=False)
    shutil.copy(empty_database, folder)
    tracker = Tracker(folder)
    tracker.start("a search", "{}", ["recall", "decode_ms"])
    tracker.log(crowd(30))
    assert tracker.finish("complete")
    return folder


@pytest.mark.skipif(not installed(), reason="needs chromium and chromedriver")
def test_the_page_shows_recall_over_efficiency(recorded):
    with serve(Shown.search(recorded)) as (addresses, _), browser() as window:
        window.open(addresses[0])
        shown, patience = None, time.monotonic() + 180
        while shown != (30, ["log2 decode_ms", "recall"]) and time.monotonic() < patience:
            time.sleep(0.5)
            shown = (window.run(POINTS), window.run(AXES))
        assert shown == (30, ["log2 decode_ms", "recall"])


LAUNCH = (
    "import sys; from tracking.ui import Shown, launch_ui; launch_ui(Shown.search(sys.argv[1]), open_browser=False)"
)


def ends(port) -> bool:
    """Whether nothing answers at the port any more, soon."""
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_what_serves_the_pages_ends_with_the_command(recorded, how):
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, str(recorded)],
        stdout=subprocess.PIPE,
        text=True,
        # A shell starts what runs in the background, these tests maybe, with Ctrl-C switched off.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    address = process.stdout.readline().strip()
    port = int(address.split("/")[2].split(":")[1])
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    process.send_signal(how)
    assert process.wait() == (0 if how is signal.SIGINT else -how)
    assert ends(port)


@pytest.mark.parametrize("uri", [None, "sqlite:///{folder}/none.db"], ids=["own", "elsewhere"])
def test_a_search_without_a_database_is_refused(tmp_path, uri):
    with pytest.raises(InputError, match="recorded in MLflow"):
        Shown.search(tmp_path, uri and uri.format(folder=tmp_path))
    assert not os.listdir(tmp_path)


def test_a_search_that_the_store_lacks_is_refused(folder):
    with pytest.raises(InputError, match=r"tracking\.experiment=other"):
        launch_ui(Shown.search(folder, experiment="other"))


def test_a_port_that_is_taken_is_refused(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="--port"):
            launch_ui(Shown.search(folder), port=taken.getsockname()[1])


def test_a_server_that_does_not_answer_is_named(folder):
    with pytest.raises(InputError, match=r"tracking\.uri=http://127\.0\.0\.1:1"):
        launch_ui(Shown.search(folder, "http://127.0.0.1:1"))
