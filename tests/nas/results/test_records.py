import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from nas.results import reading
from nas.results.reading import LineReader
from nas.results.records import Failure, RunRecord
from search_space.errors import InputError
from search_space.layouts.layout import Layout
from search_space.layouts.published import Origin
from tests.nas.examples import layout, result
from workers.jobs import Outcome

JOB = SimpleNamespace(trial=4, layout=layout(3), seeds=(7, 8))
ORIGIN = Origin("Known", layout(5))


def run(**changes):
    fields = {"trial": 4, "origin": ORIGIN, "layout": layout(3), "seed": 7, "elapsed": 1.5, "result": result(7)}
    return RunRecord(**(fields | changes))


@pytest.mark.parametrize(
    "record",
    [
        run(),
        run(origin=None, rung=2, objectives={"recall": 0.5}),
        run(result=None, failure=Failure("place", "lost\nnode")),
        run(result=replace(result(7), curves={"loss": [(1, 2.0), (2, float("inf"))]})),
    ],
    ids=["published", "searched", "failed", "with curves"],
)
def test_a_record_reads_back(record):
    line = record.to_line()
    assert "\n" not in line and LineReader(1).record(line) == record


CURVES = {"loss": [(1, 2.0), (2, 1.5)], "recall": [(2, 0.5)]}


@pytest.mark.parametrize("name", ["curves", "result"])
def test_curves_are_told_from_blocks_of_that_name(name):
    """The curves are found in the text of the line."""
    record = run(result=replace(result(7), curves=CURVES))
    fields = json.loads(record.to_line())
    fields["layout"]["blocks"] = {name: {"mixer": "gla"}}
    fields["layout"]["layers"] = [name] * 6
    read = LineReader(1).record(json.dumps(fields))
    assert read.layout == Layout.parse("gla*6") and dict(read.result.curves) == CURVES


def test_curves_are_read_when_they_are_looked_at():
    line = run(result=replace(result(7), curves=CURVES)).to_line()
    read = LineReader(1).record(line.replace("[2, 1.5]", "[2 1.5]"))
    assert read.result.recall == 0.5
    with pytest.raises(InputError, match="curves"):
        read.result.curves["loss"]


def test_what_was_read_can_be_written():
    line = run(result=replace(result(7), curves=CURVES)).to_line()
    assert LineReader(1).record(line).to_line() == line


def test_a_line_is_plain_to_its_readers():
    fields = json.loads(run(objectives={"recall": 0.5}).to_line())
    assert fields["objectives"] == {"recall": 0.5} and fields["rung"] == 0 and fields["seed"] == 7
    assert fields["origin"]["name"] == "Known" and fields["failure"] is None


def test_a_job_leaves_a_record_for_every_seed():
    outcome = Outcome(job=JOB, results=(result(7, recall=0.25), result(8, status="diverged")))
    found = RunRecord.of(outcome, ORIGIN, 2.0, ["recall", "text_loss", "decode_ms"])
    assert [(r.trial, r.seed, r.origin, r.elapsed) for r in found] == [(4, 7, ORIGIN, 2.0), (4, 8, ORIGIN, 2.0)]
    assert found[0].objectives == {"recall": 0.25, "text_loss": 3.0}
    assert found[1].objectives == {"recall": 0.0, "text_loss": pytest.approx(6.238, abs=1e-3)}
    assert all(r.failure is None for r in found)


@pytest.mark.parametrize("lost, of", [(False, "layout"), (True, "place")])
def test_a_job_that_failed_leaves_its_seeds(lost, of):
    found = RunRecord.of(Outcome(job=JOB, error="no", fault="worker" if lost else "layout"), None, 2.0, ["recall"])
    assert [(r.seed, r.result, r.failure) for r in found] == [
        (7, None, Failure(of, "no")),
        (8, None, Failure(of, "no")),
    ]
    assert [r.objectives for r in found] == [{}, {}]


def test_lines_are_read_by_their_format(monkeypatch):
    monkeypatch.setitem(reading.READERS, 2, lambda fields, layouts: run(trial=fields["number"]))
    assert LineReader(2).record('{"number": 9}').trial == 9
    with pytest.raises(KeyError):
        LineReader(1).record('{"number": 9}')


def test_an_objective_that_a_run_lacks_is_named():
    bare = replace(result(7), loss={})
    with pytest.raises(InputError, match=r"search\.objectives=text_loss"):
        RunRecord.of(
            Outcome(job=SimpleNamespace(trial=4, layout=layout(3), seeds=(7,)), results=(bare,)),
            None,
            1.0,
            ["text_loss"],
        )
