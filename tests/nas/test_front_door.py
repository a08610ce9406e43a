"""`import nas`: what a notebook does, and that it leaves the process as it was."""

import doctest
import importlib
import json
import signal
import threading

import pytest
import torch

import nas
from tests.conftest import TINY

QUIET = [*TINY, "tracking.enabled=false"]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return nas.search(nas.load("smoke", [*QUIET, "search.trials=6"]), out=tmp_path_factory.mktemp("search") / "run")


@pytest.mark.parametrize("module", ["nas", "nas.api", "nas.handle"])
def test_examples_run(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0 and result.failed == 0


def test_all_that_is_promised_is_there():
    assert all(getattr(nas, name) is not None for name in nas.__all__)
    assert set(nas.__all__) <= set(dir(nas))
    with pytest.raises(AttributeError, match="serch"):
        _ = nas.serch


def test_search_stays_a_function(found):
    """Its room has the same name, and importing from there must not put the module in the function's place."""
    importlib.import_module("nas.search.run")
    assert nas.search.__name__ == "search" and callable(nas.search)


def test_the_front_is_a_table(found):
    front = found.front()
    on_front = [t for t in found.trials if t.on_front]
    assert front.index.name == "trial" and set(front.index) == {t.number for t in on_front}
    assert front["decode_ms"].is_monotonic_increasing and front["recall"].is_monotonic_increasing
    best = found.pick("knee")
    assert front.loc[best.number, "recall"] == best.value("recall")
    assert front.loc[best.number, "layout"] == str(best.design)
    assert found.pick(best.number).layout == best.layout


def test_a_search_without_results_has_an_empty_front(tmp_path):
    (tmp_path / "config.yaml").write_text(nas.load("smoke", QUIET).to_yaml())
    opened = nas.open(tmp_path)
    assert opened.trials == [] and opened.front().empty and opened.status().states["complete"] == 0
    assert opened.audited() is None


def test_status(found):
    now = found.status()
    assert now.states == {"complete": 6, "diverged": 0, "failed": 0} and not now.running
    assert now.runs == len(found.folder.read()) and now.most_trials == 6 and now.seconds is None


def test_another_use_is_priced_anew(found):
    chat = nas.open(found.path, ["target.batch=1", "search.objectives=[recall, cache_bytes]"])
    assert list(chat.front().columns)[:3] == ["name", "recall", "cache_bytes"]
    pairs = zip(found.trials, chat.trials, strict=True)
    assert all(other.value("decode_ms") < one.value("decode_ms") for one, other in pairs)
    with pytest.raises(nas.InputError, match=r"training.steps=9"):
        nas.open(found.path, ["training.steps=9"])


def test_a_trial_costs_what_its_layout_does(found):
    trial = found.pick("knee")
    assert nas.cost(trial.design, found.config.target).decode_ms == trial.value("decode_ms")


def test_evaluate_gives_the_number_of_the_search(found):
    record = found.folder.read()[0]
    for scored in (found.evaluate(record.layout), nas.evaluate(record.layout, found.config)):
        assert scored.recall == scored.objectives["recall"] == record.result.recall
    assert len(found.evaluate(record.layout, seeds=2).runs) == 2
    with pytest.raises(nas.InputError, match="seeds=0"):
        found.evaluate(record.layout, seeds=0)


def test_audit(found):
    audit = found.audit(layouts=4, seeds=1, longer=1.0)
    assert len(audit.rows) == 4 and audit.objective == "recall" and found.audited() == audit


def test_a_layout_may_be_short_notation():
    assert nas.cost("gla*23 attention") == nas.cost(nas.Layout.parse("gla*23 attention"), nas.Target())


def test_a_layout_is_a_module_at_both_scales():
    config = nas.load("smoke")
    with torch.device("meta"):
        target, proxy = (nas.build("gla*3 attention", at) for at in (config.target, config))
    assert sum(p.numel() for p in target.parameters()) == nas.cost("gla*3 attention", config.target).parameters
    assert proxy.embedding.weight.shape == (config.suite().vocabulary, config.proxy.width)


def test_the_process_is_left_as_it_was(tmp_path, monkeypatch):
    """Threads and signal handlers are the caller's."""
    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        nas.search(nas.load("smoke", [*QUIET, "search.trials=2"]), out=tmp_path / "run")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert {s: signal.getsignal(s) for s in handlers} == handlers


def test_progress_is_told(tmp_path):
    told = []
    nas.search(nas.load("smoke", [*QUIET, "search.trials=4"]), out=tmp_path / "run", on_progress=told.append)
    assert [now.trials for now in told] == sorted(now.trials for now in told)
    last = told[-1]
    assert last.trials == 4 and last.spent == 1.0 and last.on_front >= 1
    assert last.best["recall"] == max(t.value("recall") for t in nas.open(tmp_path / "run").trials)
    assert last.best["decode_ms"] == min(t.value("decode_ms") for t in nas.open(tmp_path / "run").trials)


def test_an_event_stops_a_search_that_goes_on_later(tmp_path):
    stop = threading.Event()

    def enough(now):
        if now.trials - now.running == 3:
            stop.set()

    config = nas.load("smoke", [*QUIET, "search.trials=50", "search.seeds=1"])
    found = nas.search(config, out=tmp_path / "run", stop=stop, on_progress=enough)
    assert len(found.trials) == 3 and (found.path / "front.svg").exists()
    done = found.folder.read()
    again = found.resume(["search.trials=5"])
    assert len(again.trials) == 5 and again.folder.read()[:3] == done and again.config.search.trials == 5


ENDINGS = {
    "an event": (None, "interrupted"),
    "ctrl-c": (KeyboardInterrupt, "interrupted"),
    "a crash": (ZeroDivisionError, "failed"),
    "nothing": (None, "complete"),
}


@pytest.mark.parametrize("how", ENDINGS)
def test_mlflow_is_told_how_a_search_ended(tmp_path, monkeypatch, how):
    error, ending = ENDINGS[how]
    told, stop = [], threading.Event()
    monkeypatch.setattr("tracking.runs.Tracker.start", lambda self, *arguments: None)
    monkeypatch.setattr("tracking.runs.Tracker.finish", lambda self, state: told.append(state))
    config = nas.load("smoke", [*TINY, "search.trials=2", "search.seeds=1"])

    def on_progress(now):
        if now.trials == now.running:  # no run has ended so far
            return
        if how == "an event":
            stop.set()
        if error is not None:
            raise error

    if error is None:
        nas.search(config, out=tmp_path / "run", stop=stop, on_progress=on_progress)
    else:
        with pytest.raises(error):
            nas.search(config, out=tmp_path / "run", on_progress=on_progress)
    assert told == [ending] and (tmp_path / "run" / "front.json").exists()


def test_bad_input_writes_nothing(tmp_path):
    with pytest.raises(nas.InputError, match=r"space\.choices=mambo"):
        nas.search(nas.load("smoke", [*QUIET, "space.choices=[mambo]"]), out=tmp_path / "run")
    with pytest.raises(nas.InputError, match=r"config\.yaml"):
        nas.open(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_exports(found, tmp_path):
    file = tmp_path / "best.yaml"
    texts = found.export("knee", layers=12, output=file)
    assert list(texts.values()) == [file.read_text()] and len(nas.Layout.load(file).layers) == 12
    with pytest.raises(nas.InputError, match="--layers=0"):
        found.export("knee", layers=0)
    everything = found.export("all", output=tmp_path / "all")
    assert {p.name for p in (tmp_path / "all").iterdir()} == set(everything)
    assert len(everything) == len(found.front())


def test_a_search_can_be_read_while_it_runs(tmp_path):
    seen = []

    def look(now):
        opened = nas.open(tmp_path / "run")
        if now.trials > now.running:
            seen.append((opened.status().running, len(opened.trials)))

    nas.search(nas.load("smoke", [*QUIET, "search.trials=2"]), out=tmp_path / "run", on_progress=look)
    assert seen[0] == (True, 1)
    assert json.loads((tmp_path / "run" / "front.json").read_text())["points"]
