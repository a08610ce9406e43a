"""Trials, their front, and the front as table, JSON, CSV and records, in every direction."""

import csv
import io
import json
import math
from dataclasses import replace
from itertools import product

import pytest

from nas.results.folder import Folder
from nas.results.front import front_csv, front_dict, front_json, record, write
from nas.results.front_table import front_table
from nas.results.records import Failure, RunRecord
from nas.results.standing import mark_front
from nas.results.trials import Trial, TrialBook, front_of, seed_spread
from search_space.cost.objectives import OBJECTIVES, Objective
from search_space.errors import InputError
from search_space.layouts.layout import Layout
from search_space.layouts.published import Origin
from tests.nas.examples import config, layout, result, trial

VALUES = {"recall": (0.2, 0.8), "text_loss": (4.0, 2.0), "decode_ms": (9.0, 1.0), "largest_batch": (2.0, 90.0)}
"""Objective -> a bad and a good value."""
PAIRS = [*product(["recall", "text_loss"], ["decode_ms", "largest_batch"]), ("recall", "text_loss")]


def graded(number, **grades):
    """A trial whose objectives are graded from 0, bad, to 1, good."""
    values = {name: VALUES[name][0] + grade * (VALUES[name][1] - VALUES[name][0]) for name, grade in grades.items()}
    scores = {"recall": values.pop("recall", 0.5), "text": values.pop("text_loss", 3.0)}
    return trial(number, result(**scores), **values)


@pytest.mark.parametrize("pair", PAIRS, ids=" ".join)
def test_front_of_every_pair_of_directions(pair):
    one, other = pair
    grades = [(0.0, 1.0), (0.3, 0.3), (0.6, 0.6), (1.0, 0.0), (0.5, 0.5)]
    trials = [graded(i, **{one: a, other: b}) for i, (a, b) in enumerate(grades)]
    assert mark_front(trials, pair) == [trials[i] for i in (0, 2, 3)]
    # The best in the cost comes first; where there is none, the best in the first objective.
    order = [3, 2, 0] if other == "text_loss" else [0, 2, 3]
    assert [t.number for t in front_of(trials, pair)] == order
    found = front_dict(trials, config(*pair))
    assert [p["trial"] for p in found["points"]] == order
    rows = list(csv.DictReader(io.StringIO(front_csv(trials, config(*pair)))))
    assert [int(row["trial"]) for row in rows] == order
    assert [row.cells[0] for row in front_table(trials, config(*pair)).rows] == list(map(str, order))


@pytest.mark.parametrize("names", [("recall", "decode_ms", "largest_batch"), ("recall", "text_loss", "decode_ms")])
def test_front_of_three(names):
    grades = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.4, 0.4, 0.4), (0.3, 0.4, 0.4), (0.4, 0.3, 0.5)]
    trials = [graded(i, **dict(zip(names, g, strict=True))) for i, g in enumerate(grades)]
    mark_front(trials, names)
    assert [t.on_front for t in trials] == [True, True, True, True, False, True]
    assert trials[4].confidence < 1.0
    found = front_dict(trials, config(*names))
    assert {p["trial"] for p in found["points"]} == {0, 1, 2, 3, 5}
    assert all(list(p["objectives"]) == list(names) for p in found["points"])


def test_marking_tells_who_joined_the_front_or_left_it():
    names = ["recall", "decode_ms"]
    trials = [trial(0, result(recall=0.5), decode_ms=1.0), trial(1, result(recall=0.6), decode_ms=2.0)]
    assert mark_front(trials, names) == trials
    assert mark_front(trials, names) == []
    trials.append(trial(2, result(recall=0.7), decode_ms=1.5))
    assert mark_front(trials, names) == trials[1:]
    assert [t.on_front for t in trials] == [True, False, True]


def test_trials_without_a_complete_run_are_no_candidates():
    trials = [
        trial(0),
        trial(1, result(status="diverged"), decode_ms=1.0),
        Trial(2, layout(2), None, {"decode_ms": 0.1}),
    ]
    assert [t.state for t in trials] == ["complete", "diverged", "failed"]
    mark_front(trials, ["recall", "decode_ms"])
    assert [t.on_front for t in trials] == [True, False, False]
    assert math.isnan(trials[2].value("recall")) and trials[2].spread("recall") is None


def test_a_run_that_diverged_counts_in_its_own_layout():
    mixed = trial(0, result(0, recall=0.9), result(1, status="diverged"))
    assert mixed.value("recall") == pytest.approx(0.45)
    assert mixed.value("text_loss") == pytest.approx((3.0 + OBJECTIVES.get("text_loss").diverged) / 2)


def test_a_run_that_diverged_leaves_the_other_layouts_as_sure_as_before():
    def spread_out(extra):
        trials = [
            trial(i, *(result(seed, recall=0.2 * i + 0.01 * seed) for seed in range(3)), decode_ms=1.0 + i)
            for i in range(4)
        ]
        trials.append(trial(4, *(result(seed, recall=0.9) for seed in range(2)), *extra, decode_ms=5.0))
        mark_front(trials, ["recall", "decode_ms"])
        return trials

    before = spread_out([])
    after = spread_out([result(2, status="diverged")])
    assert seed_spread(after, "recall") == seed_spread(before, "recall") < 0.05
    assert all(t.confidence > 0.99 for t in before[:4])
    assert [t.confidence for t in after[:4]] == [t.confidence for t in before[:4]]
    assert after[4].value("recall") < before[4].value("recall")


def test_each_measured_objective_has_its_own_spread():
    """Recall that repeats itself and a loss on text that does not: only fronts that ask the latter are unsure."""
    trials = [
        trial(
            i, *(result(seed, recall=0.5 + 0.1 * i, text=3.0 - 0.1 * i + seed) for seed in range(3)), decode_ms=2.0 - i
        )
        for i in range(2)
    ]
    assert seed_spread(trials, "recall") < 0.05 < 0.5 < seed_spread(trials, "text_loss")
    mark_front(trials, ["recall", "decode_ms"])
    sure = trials[0].confidence
    mark_front(trials, ["text_loss", "decode_ms"])
    assert sure < 0.05 < 0.2 < trials[0].confidence < 0.8
    mark_front(trials, ["largest_batch", "decode_ms"])
    assert [t.confidence for t in trials] == [0.0, 1.0]


SPEED = Objective(description="speed", better="high", ratio=True, unit="x", of_run=lambda r: r.recall, diverged=0.1)
OWN = f"{__name__}:SPEED"


def test_an_objective_from_outside(tmp_path):
    """Measured, better high and on a ratio scale: seeds differ by factors."""
    trials = [
        trial(i, *(result(seed, recall=4.0**i * 1.1**seed) for seed in range(2)), decode_ms=2.0 - i) for i in range(2)
    ]
    trials.append(trial(2, result(status="diverged"), result(1, recall=2.0), decode_ms=3.0))
    assert mark_front(trials, [OWN, "decode_ms"]) == trials[1:2]
    assert trials[2].value(OWN) == pytest.approx((0.1 + 2.0) / 2)
    expected = ((4 * 0.05**2 + 2 * (math.log(1.1) ** 2 / 2)) / 6) ** 0.5
    assert seed_spread(trials, OWN) == pytest.approx(expected)
    assert f"a factor of {math.exp(expected):.3g} in {OWN}" in front_table(trials, config(OWN, "decode_ms")).below[-1]
    assert f"{OWN}_spread" in front_csv(trials, config(OWN, "decode_ms")).splitlines()[0]
    write(trials, config("recall", "decode_ms", OWN), Folder.create(tmp_path / "run", config().to_yaml()))
    assert "larger marks: better speed" in (tmp_path / "run" / "front.svg").read_text()


def test_an_objective_that_the_runs_lack_is_named():
    lacking = trial(0, result())
    lacking.results[0].loss.clear()
    with pytest.raises(InputError, match=r"search\.objectives=text_loss"):
        lacking.value("text_loss")


def test_a_published_layout_is_priced_as_it_was_published():
    origin = Origin("Mine", Layout(layout(1).layers * 4))
    book = TrialBook(lambda priced: {"decode_ms": float(len(priced.layers))})
    run = RunRecord(trial=0, seed=0, elapsed=1.0, origin=origin, layout=layout(1), result=result())
    published = book.add(run)
    searched = book.add(replace(run, origin=None, layout=layout(2)))
    assert (published.name, searched.name) == ("Mine", "search")
    assert (published.design, searched.design) == (origin.layout, layout(2))
    assert (published.value("decode_ms"), searched.value("decode_ms")) == (24.0, 6.0)
    assert book.get(layout(1)) is published
    book.add(replace(run, seed=1, result=None, failure=Failure("place", "lost")))
    assert published.failures == [Failure("place", "lost")] and published.seeds == [0]


@pytest.fixture
def marked():
    trials = [
        trial(0, result(0, recall=0.4), result(1, recall=0.6), decode_ms=1.0),
        trial(1, result(recall=0.9), decode_ms=3.0),
        trial(2, result(recall=0.3), decode_ms=2.0, origin=Origin("Known", layout(2))),
        trial(3, result(recall=0.2), decode_ms=2.0),
    ]
    mark_front(trials, ["recall", "decode_ms"])
    return trials


def test_the_json_says_what_its_objectives_are(marked):
    found = json.loads(front_json(marked, config()))
    assert found["objectives"] == [
        {"name": "recall", "direction": "maximize", "unit": "", "measured": True},
        {"name": "decode_ms", "direction": "minimize", "unit": "ms", "measured": False},
    ]
    assert list(found["seed_spread"]) == ["recall"]
    first, second = found["points"]
    assert first["objectives"] == {"recall": 0.5, "decode_ms": 1.0}
    assert first["spread"] == {"recall": pytest.approx(0.1 * 2**0.5)} and second["spread"] == {"recall": None}
    assert Layout.from_dict(first["layout"]) == Layout.from_dict(first["design"]) == layout(0)
    assert [p["origin"] for p in found["published"]] == ["Known"]


def test_the_csv_has_a_column_for_every_objective(marked):
    rows = list(csv.DictReader(io.StringIO(front_csv(marked, config()))))
    columns = ["recall", "recall_spread", "decode_ms", "seeds", "confidence", "layout"]
    assert list(rows[0]) == ["trial", "origin", "on_front", *columns]
    assert [(r["trial"], r["on_front"], r["recall"]) for r in rows] == [
        ("0", "true", "0.5"),
        ("1", "true", "0.9"),
        ("2", "false", "0.3"),
    ]
    assert (rows[0]["recall_spread"], rows[1]["recall_spread"]) == ("0.141421", "")


def test_the_table_is_for_people(marked):
    table = front_table(marked, config())
    above, heads, *lines = table.to_text().splitlines()
    assert "B 8, n 32768" in above and "proxies of 6 layers" in above
    assert heads.split() == ["trial", "recall", "spread", "decode_ms", "seeds", "confidence", "layout"]
    assert lines[0].split()[:5] == ["0", "0.500", "0.141", "1", "2"]
    assert lines[2] == "published layouts that are not on the front:" and lines[3].endswith("[Known]")
    assert lines[-1].startswith("confidence: ") and "in recall" in lines[-1]
    assert len(table.rows[0].layers) == config().target.layers and set(table.rows[0].layers) <= set(table.colours)
    assert front_table([], config()).to_text() == "No layout has been trained to its end yet.\n"


def test_a_short_table_has_the_ends_of_the_front_and_nothing_else():
    names = ["recall", "decode_ms"]
    trials = [trial(i, result(recall=0.1 * i), decode_ms=1.0 + i) for i in range(9)]
    trials.append(trial(9, result(recall=0.0), decode_ms=3.0, origin=Origin("Known", layout(9))))
    mark_front(trials, names)
    for most, expected in ((1, ["0"]), (2, ["0", "8"]), (3, ["0", "4", "8"]), (20, [str(i) for i in range(9)])):
        table = front_table(trials, config(*names), most)
        assert [row.cells[0] for row in table.rows] == expected and not table.below


def test_the_front_is_written_into_the_folder(marked, tmp_path):
    folder = Folder.create(tmp_path / "run", config().to_yaml())
    (tmp_path / "run" / "layouts").mkdir()
    (tmp_path / "run" / "layouts" / "trial_9.yaml").write_text("old")
    write(marked, config(), folder)
    assert {p.name for p in folder.layouts.iterdir()} == {"trial_0.yaml", "trial_1.yaml"}
    assert Layout.load(folder.layouts / "trial_1.yaml") == layout(1)
    assert folder.front_figure.read_text().startswith("<?xml") and json.loads(folder.front_json.read_text())["points"]


def test_a_trial_is_recorded_at_the_depth_of_the_target(marked):
    marked[2].origin = Origin("Known", Layout(layout(2).layers * 2))
    found = record(marked[2], config("recall", "text_loss", "decode_ms"))
    assert len(found.layers) == 6 and found.origin == "Known" and found.label == str(marked[2].design)
    assert found.objectives == {**marked[2].costs, "recall": 0.3, "text_loss": 3.0} and found.spreads == {}
    assert record(marked[0], config()).spreads == {"recall": pytest.approx(0.1 * 2**0.5)}
    failed = Trial(7, layout(7), None, {"decode_ms": 1.0}, failures=[Failure("layout", "no")])
    assert record(failed, config()).objectives == {"decode_ms": 1.0}
