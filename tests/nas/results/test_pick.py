import pytest

from nas.results.pick import pick
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
    with pytest.raises(InputError, match=r"--pick=best: expected knee, all, or a trial number \(the front: \[0, 1, 2"):
        pick(trials, "best", chosen)
    with pytest.raises(InputError, match="at least one layout"):
        pick([], "knee", chosen)
