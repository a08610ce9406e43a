"""What MLflow's pages show of real searches, on a real server, in a browser."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from itertools import combinations

import pytest

import nas
from nas.report import report_page
from nas.report.gathered import gathered
from nas.results.sending import send
from tests.tracking.browser import installed
from tracking.chart import KNEE
from tracking.picture.palette import INK
from tracking.runs import Tracker
from tracking.store import QUIET
from tracking.ui import Shown, serve

pytestmark = pytest.mark.skipif(not installed(), reason="needs chromium and chromedriver (Debian: chromium-driver)")

PATIENCE = 500
"""Seconds for a page of MLflow's to be drawn, on a busy machine too."""
COLOURS = """return [...document.querySelectorAll('.scatterlayer .point')].map(e => '#' +
  (getComputedStyle(e).fill.match(/\\d+/g) || []).map(x => Number(x).toString(16).padStart(2, '0')).join(''))"""
TITLES = "return ['.xtitle', '.ytitle'].map(s => document.querySelector(s)?.textContent)"
BOXES = """return [...document.querySelectorAll(SELECTOR)].map(e => {
  const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom, e.textContent] })"""
PICTURE = "return [...document.images].filter(i => i.src.includes('front.svg')).map(i => i.naturalWidth)"
ROWS = """return [...document.querySelectorAll('table tr')].map(
  row => [...row.children].map(cell => cell.textContent)).filter(row => row.at(-1)?.trim())"""
TEXT = "return document.body.innerText"


@pytest.fixture(scope="module", autouse=True)
def patient():
    """A search does not wait long for a server; these tests do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", str(PATIENCE))
        yield


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Address of an MLflow server, as anybody starts one."""
    place = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{place}/mlflow.db", "--artifacts-destination", str(place / "files")]
    environment = {**os.environ, **QUIET, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (place / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        until(lambda: answers(address) or process.poll() is not None)
        assert answers(address), (place / "log").read_text()
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(address):
    with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=30):
        return True
    return False


@pytest.fixture(scope="module")
def sent(server, finished, tmp_path_factory):
    """A search that was recorded nowhere, and then on a server: MLflow is made from the record."""
    folder = tmp_path_factory.mktemp("sent") / "run"
    shutil.copytree(finished, folder)
    search = nas.open(folder)
    tracker = Tracker(folder, server)
    tracker.start(search.config.name, search.config.to_yaml(), search.config.search.objectives)
    send(search.trials, search.folder.read(), search.config, search.folder, report_page, tracker)
    assert tracker.finish("complete", wait=None)
    return search


@pytest.fixture(scope="module")
def addresses(server, sent):
    """Of the charts, and of the search."""
    with serve(Shown.search(sent.path, server)) as (found, process):
        assert process is None and all(each.startswith(f"{server}/#/") for each in found)
        return found


def until(found, patience=PATIENCE):
    """What `found` returns as soon as it is something, or in the end."""
    deadline = time.monotonic() + patience
    while not (value := found()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return value


def boxes(window, selector):
    return window.run(BOXES.replace("SELECTOR", json.dumps(selector)))


def apart(found):
    """Whether texts overlap nowhere."""
    return not any(
        a[0] + 0.5 < b[2] and b[0] + 0.5 < a[2] and a[1] + 0.5 < b[3] and b[1] + 0.5 < a[3]
        for a, b in combinations(found, 2)
    )


def test_the_charts_show_all_layouts_and_the_layers_of_the_front(window, sent, addresses):
    front = json.loads(sent.folder.front_json.read_text())["points"]
    complete = [t for t in sent.trials if t.state == "complete"]
    depth = sent.config.space.layers
    window.resize(1600, 1400)
    window.open(addresses[0])
    until(lambda: len(boxes(window, ".dimension")) == depth + 3 and len(window.run(COLOURS)) == len(complete))
    colours = window.run(COLOURS)
    assert len(colours) == len(complete)
    assert colours.count(KNEE) == 1 and colours.count(INK) == len(front) - 1
    assert window.run(TITLES) == ["log2 decode_ms", "recall"]
    ticks = boxes(window, ".xtick text"), boxes(window, ".ytick text")
    assert all(len(each) >= 2 and apart(each) for each in ticks)
    titles = boxes(window, ".dimension .label")
    layers = [f"layer_{i:02d}" for i in range(depth)]
    axes = [*layers, f"front {len(sent.folder.read())}", "log2 decode_ms", "recall"]
    assert [title[-1] for title in titles] == axes and apart(titles)
    (left, _, right, *_), *_ = boxes(window, "#wrapper")
    assert all(left <= title[0] and title[2] <= right for title in titles)


def test_the_table_has_columns_for_what_is_traded(window, sent, addresses):
    window.resize(4000, 1400)  # the UI leaves out columns that are out of sight
    window.open(addresses[0].replace("compareRunsMode=CHART", "compareRunsMode=TABLE"))
    heads = ("layout", "recall", "recall_spread", "decode_ms", "confidence", "front", "origin")
    knee = next(p for p in json.loads(sent.folder.front_json.read_text())["points"] if p["knee"])

    def shown():
        lines = window.run(TEXT).splitlines()
        return all(head in lines for head in heads) and any(
            f"{knee['trial']}" in line and "(knee)" in line for line in lines
        )

    assert until(shown), window.run(TEXT)


def test_the_search_is_described_with_its_picture(window, sent, addresses):
    window.resize(1600, 1400)
    window.open(addresses[1])
    assert until(lambda: any(window.run(PICTURE)))
    front = json.loads(sent.folder.front_json.read_text())["points"]
    rows = [row for row in window.run(ROWS) if row[0] in {str(p["trial"]) for p in front} and len(row) > 5]
    assert [row[0] for row in rows] == [str(p["trial"]) for p in front]
    assert ["knee" in row[-1] for row in rows] == [p["knee"] for p in front]
    assert until(lambda: all(name in window.run(TEXT) for name in ("best_recall", "front_size")))


def test_the_page_of_the_search_works_inside_mlflow(window, sent, addresses):
    window.open(addresses[1].replace("?", "/artifacts/front.html?"))
    assert until(lambda: window.run("return document.querySelectorAll('iframe').length"))
    with window.frame("iframe"):
        until(lambda: window.run("return document.querySelectorAll('#chart .point').length"))
        inside = window.run("return [...document.querySelectorAll('#chart .point.front')].map(e => +e.dataset.trial)")
    assert sorted(inside) == sorted(p["trial"] for p in json.loads(sent.folder.front_json.read_text())["points"])


def test_several_searches_share_a_chart(window, finished):
    search = nas.open(finished)
    found = search.trials, search.folder.read(), search.config
    complete = [t for t in search.trials if t.state == "complete"]
    with gathered({"one": found, "another": found}) as shown, serve(shown) as (found_at, _):
        window.open(found_at[0])
        until(lambda: len(window.run(COLOURS)) == 2 * len(complete))
        colours, names = window.run(COLOURS), window.run(TEXT)
    assert len(colours) == 2 * len(complete) and len(set(colours)) == 4
    assert "one " in names and "another " in names
    assert not (finished / ".tracking_id").exists()
