"""What standard error shows while a search goes on."""

import io
import logging
import re
import sys

import pytest

from nas.cli.bar import described, run_bar, search_bar
from nas.results.running import RunningJob
from nas.results.standing import mark_front
from nas.search.progress import Progress
from nas.study.training import Progress as RunsProgress
from tests.nas.examples import config, result, trial


def progress(**changes):
    trials = [trial(i, result(recall=0.1 * i), decode_ms=1.0 + i) for i in range(20)]
    mark_front(trials, ["recall", "decode_ms"])
    jobs = tuple(RunningJob(trial=100 + i, layout="gla*5 attention", seeds=(i,), since=0.0) for i in range(9))
    values = {"trials": 20, "running": 9, "on_front": 20, "best": {}, "elapsed": 100.0, "seconds": 300.0}
    values |= {"most_trials": None, "runs": 31, "rate": 18.6, "moved": 35.0, "jobs": jobs, "front": tuple(trials)}
    return Progress(**{**values, **changes})


def test_a_line_says_how_far_it_is_how_fast_and_what_changed_last():
    said = described(progress())
    assert said == "20 trials, front 20, 31 runs, 18.6 a minute, front moved 1:05 ago, 3:20 left"
    assert described(progress(rate=None, moved=None, seconds=None)) == "20 trials, front 20, 31 runs"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    return Terminal()


def lines_of(terminal):
    return [re.sub("\x1b\\[[0-9;?]*[a-zA-Z]|\r", "", line) for line in terminal.getvalue().splitlines()]


def test_a_terminal_shows_running_layouts_and_a_small_front(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal)
    with search_bar(config()) as bar:
        bar(progress())
        lines = lines_of(terminal)
    assert max(map(len, lines)) <= 80 and len(lines) <= 24
    text = "\n".join(lines)
    assert " 33%" in text and described(progress()) in text and "recall 0.000" not in text
    assert sum("gla*5 attention" in line for line in lines) == 6 and text.count("■■■■■■") == 8


def test_a_front_without_layouts_is_not_shown(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal)
    with search_bar(config()) as bar:
        bar(progress(trials=0, runs=0, on_front=0, front=(), jobs=(), rate=None, moved=None))
    assert "decode_ms" not in terminal.getvalue() and "0 trials, front 0, 0 runs, 3:20 left" in terminal.getvalue()


def test_messages_stand_above_what_is_live(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal)
    logger, handler = logging.getLogger(), logging.StreamHandler(terminal)
    logger.addHandler(handler)
    try:
        with run_bar("audit") as update:
            update(RunsProgress(done=1, total=4, seconds_left=30.0))
            logger.warning("trial 3 failed")
            update(RunsProgress(done=2, total=4, seconds_left=20.0))
        assert handler.stream is terminal
    finally:
        logger.removeHandler(handler)
    lines = lines_of(terminal)
    assert "trial 3 failed" in lines and "audit: 2 of 4 runs, 0:20 left" in "\n".join(lines)
    assert lines.index("trial 3 failed") < max(i for i, line in enumerate(lines) if "audit: 2 of 4" in line)


def test_what_goes_to_other_processes_is_plain():
    said = progress(best={"recall": 0.5}).to_dict()
    assert "jobs" not in said and "front" not in said
    assert Progress(**said) == progress(best={"recall": 0.5}, jobs=(), front=())
