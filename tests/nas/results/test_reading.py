"""The blocks of a search are checked once, and checked they are."""

import json
from dataclasses import replace

import pytest

from nas.results import reading
from nas.results.reading import LayoutReader, LineReader
from search_space.errors import InputError
from search_space.layouts.layout import Layout
from tests.nas.examples import result
from tests.nas.results.test_records import CURVES, run

WINDOWS = {"blocks": {"a": {"mixer": "sliding_window", "window": 64}, "b": {"mixer": "gla"}}, "layers": ["a", "b", "a"]}


def changed(**block):
    return {**WINDOWS, "blocks": {**WINDOWS["blocks"], "a": {"mixer": "sliding_window", **block}}}


def test_known_blocks_are_put_together(monkeypatch):
    layouts = LayoutReader(trust=False)
    first = layouts(WINDOWS)
    monkeypatch.setattr(reading, "refuse_imports", lambda *_: pytest.fail("checked twice"))
    monkeypatch.setattr(Layout, "from_dict", lambda *_: pytest.fail("made twice"))
    assert layouts(WINDOWS) == first == Layout.parse("sliding_window(window=64) gla sliding_window(window=64)")
    assert layouts({**WINDOWS, "layers": ["b", "b"]}) == Layout.parse("gla*2")


@pytest.mark.parametrize("block", [{"window": 64.0}, {"window": True}, {"window": 65}, {"windows": 64}, {}])
def test_blocks_that_differ_are_told_apart(block):
    layouts = LayoutReader(trust=False)
    layouts(WINDOWS)
    assert json.dumps(layouts(changed(**block)).to_dict()) == json.dumps(Layout.from_dict(changed(**block)).to_dict())


@pytest.mark.parametrize(
    "fields",
    [
        {**WINDOWS, "layers": "ab"},
        {**WINDOWS, "layers": []},
        {**WINDOWS, "layers": ["a", "c"]},
        {**WINDOWS, "layers": ["a", ["b"]]},
        {**WINDOWS, "layers": ["a"] * 1001},
        {**WINDOWS, "layers": ["a", "os:system"]},
        {**WINDOWS, "more": 1},
        changed(window=float("nan")),
        changed(window="os:system"),
        changed(window="x" * 5000),
        {**WINDOWS, "blocks": {**WINDOWS["blocks"], "c": {"mixer": "os:system"}}},
        {"layers": WINDOWS["layers"]},
        {"blocks": ["a", "b"], "layers": ["a"]},
        None,
        "ab",
    ],
    ids=str,
)
def test_what_is_wrong_is_refused_whatever_was_read_before(fields):
    layouts = LayoutReader(trust=False)
    layouts(WINDOWS)
    for _ in range(2):
        with pytest.raises(InputError):
            layouts(fields)


def test_dotted_paths_are_taken_with_trust_alone():
    own = {"blocks": {"a": {"mixer": "search_space.mixers.gla:GatedLinearAttention"}}, "layers": ["a"]}
    assert LayoutReader()(own) and LayoutReader()(own)
    with pytest.raises(InputError, match="--trust"):
        LayoutReader(trust=False)(own)


def test_curves_stay_text(monkeypatch):
    """Those of a line as the program writes it; other lines are read all the same."""
    line = run(result=replace(result(7), curves=CURVES)).to_line()
    parsed = []
    loads = json.loads
    monkeypatch.setattr(reading.json, "loads", lambda text: parsed.append(text) or loads(text))
    found = LineReader(1).record(line)
    assert len(parsed) == 1 and "[2, 1.5]" not in parsed[0]
    assert dict(found.result.curves) == CURVES
    compact = json.dumps(loads(line), separators=(",", ":"))
    assert dict(LineReader(1).record(compact).result.curves) == CURVES
