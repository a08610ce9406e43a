import pytest

from nas.results.front import front_dict
from nas.results.front_table import front_table
from nas.results.pick import knee, pick
from nas.results.standing import mark_front
from search_space.errors import InputError
from tests.nas.examples import config, result, trial


def searched(name, values, recalls=(0.2, 0.9, 1.0)):
    """Three trials of a front whose middle one is the best trade, and their configuration."""
    chosen = config("recall", name)
    trials = [trial(i, result(recall=r), **{name: v}) for i, (v, r) in enumerate(zip(values, recalls, strict=True))]
    mark_front(trials, chosen.search.objectives)
    return trials, chosen


@pytest.mark.parametrize(
    "name, values", [("decode_ms", (1.0, 2.0, 10.0)), ("largest_batch", (100.0, 50.0, 10.0))], ids=["low", "high"]
)
def test_knee_and_order_ask_the_objective_which_way_is_better(name, values):
    trials, chosen = searched(name, values)
    assert [t.number for t in pick(trials, "knee", chosen)] == [1]
    assert [t.number for t in pick(trials, "all", chosen)] == [0, 1, 2]
    assert pick(trials, "2", chosen) == [trials[2]]


def test_a_trial_may_be_picked_that_is_not_on_the_front():
    trials, chosen = searched("decode_ms", (1.0, 2.0, 3.0), (0.9, 0.5, 1.0))
    assert not trials[1].on_front and pick(trials, "1", chosen) == [trials[1]]


def test_what_is_not_there_is_refused():
    trials, chosen = searched("decode_ms", (1.0, 2.0, 3.0))
    with pytest.raises(InputError, match=r"--pick=worst: expected best, knee, .* number \(the front: \[0, 1, 2"):
        pick(trials, "worst", chosen)
    with pytest.raises(InputError, match="at least one layout"):
        pick([], "knee", chosen)


def front(*points):
    """A front of (recall, decode_ms, sure), cheapest first."""
    return [
        trial(i, result(recall=recall), decode_ms=ms, on_front=True, confidence=sure)
        for i, (recall, ms, sure) in enumerate(points)
    ]


@pytest.mark.parametrize(
    "points, number",
    [
        # Ranges scaled to [0, 1] pass over .907 for .713, which saves 9% of the time.
        ([(0.34, 1.00, 1.0), (0.713, 1.10, 1.0), (0.907, 1.20, 0.8)], 2),
        ([(0.713, 1.10, 1.0), (0.907, 1.20, 0.8)], 1),
        # Four times the cost for .05 more is no trade.
        ([(0.34, 1.00, 1.0), (0.90, 1.10, 0.8), (0.95, 4.40, 1.0)], 1),
        # A gain that may be luck counts for less.
        ([(0.34, 1.00, 1.0), (0.80, 1.10, 1.0), (0.84, 1.11, 0.5)], 1),
        ([(0.34, 1.00, 1.0), (0.80, 1.10, 1.0), (0.84, 1.11, 0.98)], 2),
        ([(0.5, 1.0, 1.0)], 0),
    ],
)
def test_the_knee_is_worth_its_cost(points, number):
    assert knee(front(*points), ["recall", "decode_ms"]).number == number


def test_the_knee_is_the_same_whatever_else_is_on_the_front():
    points = [(0.34, 1.00, 1.0), (0.713, 1.10, 1.0), (0.907, 1.20, 1.0)]
    assert knee(front(*points, (0.92, 40.0, 1.0)), ["recall", "decode_ms"]).number == 2


@pytest.mark.parametrize(
    "what, number",
    [
        ("best", 2),
        ("recall>=0.9", 1),
        ("recall > 0.9", 2),
        ("recall>=0.1", 0),
        ("decode_ms<=2.5", 1),
        ("decode_ms<2.0", 0),
        ("cache_bytes<=1e9", 2),
        ("decode_ms>=3e0", 2),
    ],
)
def test_picked_by_what_is_wanted(what, number):
    trials, chosen = searched("decode_ms", (1.0, 2.0, 3.0))
    assert [t.number for t in pick(trials, what, chosen)] == [number]


def test_a_condition_that_only_a_beaten_layout_meets_is_met_by_it():
    trials, chosen = searched("decode_ms", (1.0, 2.0, 3.0), (0.9, 0.5, 1.0))
    assert [t.number for t in pick(trials, "recall<=0.6", chosen)] == [1]


def test_conditions_that_cannot_be_met_say_what_can():
    trials, chosen = searched("decode_ms", (1.0, 2.0, 3.0))
    with pytest.raises(InputError, match=r"--pick=recall>=1.5: expected a condition .*: recall is 0.2 to 1"):
        pick(trials, "recall>=1.5", chosen)
    for wrong in ("recall>=1.2.3", "recall>=", "recall=0.5", ">=0.5", "recall>=x", "recall>=1e", "9" * 5000):
        with pytest.raises(InputError, match="expected best, knee, all, a condition such as"):
            pick(trials, wrong, chosen)
    with pytest.raises(InputError, match="a condition on one of recall, decode_ms, cache_bytes, largest_batch"):
        pick(trials, "speed>=1", chosen)


def test_the_knee_is_marked_in_table_and_json():
    trials, chosen = searched("decode_ms", (1.0, 2.0, 10.0))
    assert [p["knee"] for p in front_dict(trials, chosen)["points"]] == [False, True, False]
    marked = [line for line in front_table(trials, chosen).to_text().splitlines() if "[knee: the best trade]" in line]
    assert len(marked) == 1 and marked[0].split()[0] == "1"
