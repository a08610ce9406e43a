import json
import logging
import math
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest

from search_space.errors import InputError
from tests.tracking.examples import trial
from tracking import runs
from tracking.chart import KNEE, MOST_LAYERS, PUBLISHED
from tracking.picture.palette import FAINT, INK
from tracking.records import FrontRecord
from tracking.runs import Tracker
from tracking.store import Store, search_id

OBJECTIVES = ["recall", "decode_ms"]
CONFIG = "search:\n  seed: 3\n  seconds: 60\nname: here\n"


def begin(folder, uri=None):
    tracker = Tracker(folder, uri)
    tracker.start("a search", CONFIG, OBJECTIVES)
    return tracker


def record(folder, *records):
    """Records a whole session."""
    tracker = begin(folder)
    tracker.log(records)
    assert tracker.finish("complete")


def parent_and_trials(folder):
    """The parent run, and the runs of the trials by number."""
    client = Store.locate(folder).connect()
    experiment = client.get_experiment_by_name("nas").experiment_id
    found = client.search_runs([experiment], f"tags.search_id = '{search_id(folder)}'")
    trials = [run for run in found if "trial" in run.data.tags]
    (parent,) = [run for run in found if run not in trials]
    numbers = [int(run.data.tags["trial"]) for run in trials]
    assert len(set(numbers)) == len(numbers)
    return parent, dict(zip(numbers, trials, strict=True))


def test_a_trial_is_a_run(folder):
    record(folder, trial(7, layers=("gla", "attention") * 12, on_front=True, confidence=0.75))
    parent, trials = parent_and_trials(folder)
    run = trials[7]
    assert run.info.run_name == "7: gla*3 attention"
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time >= 12_000
    assert run.data.params == {
        "layout": "gla*3 attention",
        "origin": "search",
        "layer_00": "gla",
        "layer_01": "gla",
        "layer_02": "gla",
        "layer_03": "attention",
    }
    assert run.data.metrics == {
        "recall": 0.5,
        "recall_spread": 0.03,
        "confidence": 0.75,
        "text_loss": 3.0,
        "decode_ms": 2.5,
        "log2 decode_ms": math.log2(2.5),
        "cache_bytes": 1e9,
        "largest_batch": 64.0,
        "final_accuracy/recall": 0.5,
        "by_step/train_loss/seed_0": 2.0,
        "seconds": 12.0,
        "seeds": 2.0,
    }
    expected = {"front": "true", "knee": "false", "state": "complete", "seeds": "0 1"}
    expected |= {"mlflow.parentRunId": parent.info.run_id, "mlflow.runColor": INK}
    assert expected.items() <= run.data.tags.items()
    layout = folder / "artifacts" / run.info.run_id / "artifacts" / "layout.yaml"
    assert layout.read_text() == "layers: [gla, gla, gla, attention]\n"


FILES = {"front.svg": "<svg/>", "front.html": "<p>"}


def found(*members, after=5):
    return FrontRecord(members=members, runs=after, description="| a table |", files=FILES)


def test_the_search_is_the_parent_run(folder):
    members = trial(0, on_front=True, recall=0.9), trial(1, on_front=True, knee=True, decode_ms=1.5)
    tracker = begin(folder)
    tracker.log([*members, trial(2)])
    tracker.log_front(found(*members))
    assert tracker.finish("complete")
    parent, _ = parent_and_trials(folder)
    assert parent.info.run_name == "a search"
    assert parent.data.tags["objectives"] == "recall (high), decode_ms (low)"
    assert parent.data.params == {"search.seed": "3", "search.seconds": "60", "name": "here"}
    assert parent.data.metrics == {"front_size": 2, "runs": 5, "best_recall": 0.9, "best_decode_ms": 1.5}
    note = parent.data.tags["mlflow.note.content"]
    for text in (
        "| a table |",
        f"(get-artifact?path=front.svg&run_uuid={parent.info.run_id})",
        "/artifacts/front.html?",
    ):
        assert text in note
    artifacts = folder / "artifacts" / parent.info.run_id / "artifacts"
    files = {"config.yaml": CONFIG, **FILES}
    assert {p.name: p.read_text() for p in artifacts.iterdir()} == files


def test_names_say_what_a_trial_is(folder):
    record(folder, trial(0, origin="GLA 6:1"), trial(1, on_front=True, knee=True), trial(2, on_front=True))
    before = {number: run.info.run_name for number, run in parent_and_trials(folder)[1].items()}
    record(folder, trial(0, origin="GLA 6:1"), trial(1), trial(2, on_front=True, knee=True))
    _, after = parent_and_trials(folder)
    label = "gla*3 attention"
    assert before == {0: f"0 GLA 6:1: {label}", 1: f"1 (knee): {label}", 2: f"2: {label}"}
    assert {number: run.info.run_name for number, run in after.items()} == {
        0: f"0 GLA 6:1: {label}",
        1: f"1: {label}",
        2: f"2 (knee): {label}",
    }
    colours = {number: run.data.tags["mlflow.runColor"] for number, run in after.items()}
    assert colours == {0: PUBLISHED, 1: FAINT, 2: KNEE}


def test_the_layers_are_shown_of_those_on_the_front_now(folder):
    """Runs keep the metrics that they once had, so each front has one of its own."""
    record(folder, trial(0, on_front=True), trial(1))
    for after, member in ((2, 0), (3, 1)):
        tracker = begin(folder)
        tracker.log([trial(n, on_front=n == member) for n in range(2)])
        tracker.log_front(found(trial(member, on_front=True), after=after))
        assert tracker.finish("complete")
        _, layers = charts_in(folder)
        only, *_ = layers["selectedMetrics"]
        _, trials = parent_and_trials(folder)
        assert [number for number, run in trials.items() if only in run.data.metrics] == [member]
        assert layers["selectedParams"] == ["layer_00", "layer_01", "layer_02", "layer_03"]


def test_deep_layouts_show_as_many_layers_as_there_is_room_for(folder):
    deep = trial(0, trained=("gla",) * 48, on_front=True)
    tracker = begin(folder)
    tracker.log([deep])
    tracker.log_front(found(deep))
    assert tracker.finish("complete")
    axes = charts_in(folder)[1]["selectedParams"]
    assert len(axes) == MOST_LAYERS and (axes[0], axes[-1]) == ("layer_00", "layer_47")


def charts_in(folder):
    tags = Store.locate(folder).connect().get_experiment_by_name("nas").tags
    (view,) = (json.loads(value) for key, value in tags.items() if key.startswith("mlflow.sharedViewState."))
    return view["compareRunCharts"]


@pytest.mark.parametrize("state, status", [("complete", "FINISHED"), ("interrupted", "KILLED"), ("failed", "FAILED")])
def test_how_a_search_ended_shows(folder, state, status):
    tracker = begin(folder)
    assert tracker.finish(state)
    assert parent_and_trials(folder)[0].info.status == status


@pytest.mark.parametrize(
    "names, x, y",
    [
        (["recall", "decode_ms"], "log2 decode_ms", "recall"),
        (["decode_ms", "cache_bytes", "text_loss"], "log2 decode_ms", "text_loss"),
        (["largest_batch", "cache_bytes"], "log2 largest_batch", "log2 cache_bytes"),
    ],
)
def test_the_chart_shows_the_first_cost_and_the_first_measured_objective(folder, names, x, y):
    tracker = Tracker(folder)
    tracker.start("a search", CONFIG, names)
    assert tracker.finish("complete")
    (chart,) = charts_in(folder)
    assert (chart["xaxis"]["key"], chart["yaxis"]["key"]) == (x, y)


def test_an_unknown_objective_is_refused(folder):
    with pytest.raises(InputError, match=r"search\.objectives=speed"):
        Tracker(folder).start("a search", CONFIG, ["recall", "speed"])


@pytest.mark.parametrize("state, status", [("diverged", "FAILED"), ("failed", "FAILED")])
def test_what_became_of_a_trial_shows(folder, state, status):
    nan = float("nan")
    record(folder, trial(0, state=state, spreads={}, curves={"train_loss": [(1, nan), (2, float("inf"))]}))
    _, trials = parent_and_trials(folder)
    assert trials[0].info.status == status
    assert "recall_spread" not in trials[0].data.metrics


def test_more_seeds_replace_what_fewer_showed(folder):
    first = trial(0, recall=0.9, seeds=(0,), spreads={})
    more = trial(0, recall=0.6, seeds=(0, 1, 2), spreads={"recall": 0.2}, curves={"loss": [(1, 2.0)]})
    record(folder, first)
    record(folder, more)
    _, trials = parent_and_trials(folder)
    assert trials[0].data.metrics["recall"] == 0.6
    assert trials[0].data.tags["seeds"] == "0 1 2"


def test_sending_twice_doubles_nothing(folder):
    record(folder, trial(0), trial(1))
    record(folder, trial(0), replace(trial(1), on_front=True), trial(2))
    _, trials = parent_and_trials(folder)
    assert sorted(trials) == [0, 1, 2]
    history = Store.locate(folder).connect().get_metric_history(trials[1].info.run_id, "by_step/train_loss/seed_0")
    assert [(point.step, point.value) for point in history] == [(100, 3.0), (200, 2.0)]


def test_the_front_moves_on(folder):
    tracker = begin(folder)
    tracker.log([trial(0, on_front=True, confidence=0.9), trial(1)])
    tracker.log([trial(0), trial(1, on_front=True)])
    assert tracker.finish("complete")
    _, trials = parent_and_trials(folder)
    assert [trials[i].data.tags["front"] for i in (0, 1)] == ["false", "true"]
    assert trials[0].data.metrics["confidence"] == 0.0


def test_a_search_goes_on_with_another_budget(folder):
    record(folder, trial(0))
    tracker = Tracker(folder)
    longer = CONFIG.replace("60", "90") + "more: true\n"
    tracker.start("a search", longer, OBJECTIVES)
    assert tracker.finish("complete")
    parent, trials = parent_and_trials(folder)
    assert list(trials) == [0]
    assert parent.data.params == {"search.seed": "3", "search.seconds": "60", "name": "here", "more": "True"}
    assert (folder / "artifacts" / parent.info.run_id / "artifacts" / "config.yaml").read_text() == longer


def test_large_records_fit(folder):
    curves = {f"loss {i}!": [(step, 1.0) for step in range(300)] for i in range(7)}
    record(folder, trial(0, trained=("gla",) * 250, label="gla " * 2000, curves=curves))
    _, trials = parent_and_trials(folder)
    assert len(trials[0].data.params) == 252
    assert len(Store.locate(folder).connect().get_metric_history(trials[0].info.run_id, "by_step/loss 6_")) == 300
    assert trials[0].data.tags["digest"]


def test_nothing_waits_for_the_store(folder, monkeypatch):
    reached, released = threading.Event(), threading.Event()
    connect = Store.connect

    def blocked(store):
        reached.set()
        released.wait()
        return connect(store)

    monkeypatch.setattr(Store, "connect", blocked)
    tracker = begin(folder)
    reached.wait()
    tracker.log([trial(0), trial(1)])
    tracker.log_front(found())
    assert not tracker.finish("complete", wait=0)
    released.set()
    assert tracker.finish("complete")
    assert sorted(parent_and_trials(folder)[1]) == [0, 1]


def test_a_server_that_is_down_loses_nothing(folder, caplog):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{probe.getsockname()[1]}"
    tracker = begin(folder, closed)
    tracker.log([trial(0), trial(1)])
    assert not tracker.finish("interrupted")
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert [closed in line and "\n" not in line for line in warnings] == [True, True]
    record(folder, trial(0), trial(1))
    assert sorted(parent_and_trials(folder)[1]) == [0, 1]


def test_a_store_that_comes_back_gets_all(folder, monkeypatch, caplog):
    attempts = []
    connect = Store.connect

    def failing(store):
        attempts.append(1)
        if len(attempts) < 4:
            raise ConnectionError("no\nanswer")
        return connect(store)

    monkeypatch.setattr(Store, "connect", failing)
    monkeypatch.setattr(runs, "FIRST_PAUSE", 0.0)
    tracker = begin(folder)
    tracker.log([trial(0)])
    while len(attempts) < 4:
        time.sleep(0.01)
    tracker.log([trial(1)])
    assert tracker.finish("complete")
    assert sorted(parent_and_trials(folder)[1]) == [0, 1]
    assert [r.getMessage().count("no answer") for r in caplog.records if r.levelno >= logging.WARNING] == [1]


def test_an_answer_that_is_lost_doubles_nothing(folder, monkeypatch):
    from mlflow import MlflowClient

    create, calls = MlflowClient.create_run, []

    def create_and_lose(self, *args, **options):
        made = create(self, *args, **options)
        calls.append(1)
        if len(calls) in (1, 3):
            raise ConnectionError("the answer is lost")
        return made

    monkeypatch.setattr(MlflowClient, "create_run", create_and_lose)
    monkeypatch.setattr(runs, "FIRST_PAUSE", 0.0)
    tracker = begin(folder)
    tracker.log([trial(0), trial(1)])
    while len(calls) < 3:
        time.sleep(0.01)
    assert tracker.finish("complete")
    parent, trials = parent_and_trials(folder)
    assert sorted(trials) == [0, 1]
    assert parent.info.status == "FINISHED"


def test_what_mlflow_refuses_holds_up_nothing(folder, caplog):
    record(folder, trial(0))
    # A parameter cannot change, and a layout never does.
    record(folder, trial(0, label="another"), trial(1))
    assert sorted(parent_and_trials(folder)[1]) == [0, 1]
    assert any("does not take trial 0" in r.getMessage() for r in caplog.records)


ENDLESS = f"""
import sys
from tests.tracking.examples import trial
from tracking.runs import Tracker
tracker = Tracker(sys.argv[1])
tracker.start("a search", {CONFIG!r}, {OBJECTIVES!r})
tracker.log(trial(n) for n in range(10_000))
tracker.finish("complete", wait=1000)
"""


def test_a_killed_search_leaves_a_database_that_goes_on(folder):
    (folder / "mlflow.db").unlink()
    child = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        while _runs_in(folder / "mlflow.db") < 5 and child.poll() is None:
            time.sleep(0.05)
    finally:
        child.send_signal(signal.SIGKILL)
    assert child.communicate()[0] == ""  # MLflow had nothing to say, emojis included
    _, before = parent_and_trials(folder)
    record(folder, *(trial(n) for n in range(len(before) + 3)))
    parent, trials = parent_and_trials(folder)
    assert sorted(trials) == list(range(len(before) + 3))
    assert all(run.data.metrics["recall"] == 0.5 for run in trials.values())
    assert parent.info.status == "FINISHED"


def _runs_in(database) -> int:
    if not database.exists():
        return 0
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT count(*) FROM runs").fetchone()[0]


def test_a_nonsense_uri_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match=r"tracking\.uri"):
        Tracker(tmp_path, "foo://bar")
    assert not list(tmp_path.iterdir())
