"""Which published layouts a search tries, in what order, and what the front says of the others."""

import pytest

import nas
from nas.results.front_table import front_table
from nas.results.queue import queued, untried
from nas.results.standing import mark_front
from search_space.layouts.published import published_layouts
from search_space.space.choices import SpaceConfig
from search_space.space.space import Space
from tests.nas.examples import result, trial

BY_NAME = {each.name: each for each in published_layouts()}


@pytest.fixture(scope="module")
def laptop():
    return nas.load("laptop")


@pytest.fixture(scope="module")
def queue(laptop):
    return queued(laptop, Space(laptop.space, laptop.target))


def test_the_default_space_has_nine_blocks_of_all_families_that_hybrids_are_made_of(laptop):
    for names in (laptop.space.choices, SpaceConfig().choices):
        assert len(names) == 9
        families = {row.family for row in nas.mixers(laptop) if row.name in names or (row.name == "sliding_window")}
        assert families == {"attention", "window", "linear", "delta", "ssm", "vector", "convolution"}


def test_the_first_of_the_queue_are_of_all_families_and_differ_in_attention(queue):
    first = [BY_NAME[origin.name] for _, origin in queue[:7]]
    families = [each.families - {"attention"} or each.families for each in first]
    assert set().union(*families) == {"attention", "window", "linear", "delta", "ssm", "vector", "convolution"}
    deltas = [BY_NAME[o.name] for _, o in queue if "delta" in BY_NAME[o.name].families]
    assert deltas[0].attention == 0 and deltas[1].attention == max(each.attention for each in deltas)
    assert len({layout for layout, _ in queue}) == len(queue) > 20


def tried(queue, place, **changes):
    layout, origin = queue[place]
    found = trial(place, result(recall=0.5 + place / 10), origin=origin, **changes)
    found.layout = layout
    return found


def test_the_table_counts_those_that_a_search_did_not_come_to(queue, laptop):
    trials = [tried(queue, 0), tried(queue, 1)]
    mark_front(trials, laptop.search.objectives)
    left = untried(trials, laptop)
    assert [o.name for o in left] == [o.name for _, o in queue[2:]]
    note = front_table(trials, laptop).below[0]
    assert note.startswith(f"not tried: {len(left)} published layouts ({left[0].name}, ") and left[-1].name not in note
    trials = [tried(queue, place) for place in range(len(queue) - 1)]
    mark_front(trials, laptop.search.objectives)
    assert front_table(trials, laptop).below[0] == f"not tried: 1 published layouts ({queue[-1][1].name})"


def test_nothing_is_left_where_nothing_published_was_wanted():
    assert untried([], nas.load("laptop", ["search.published=false"])) == []


def test_another_target_at_which_no_layout_keeps_the_budget():
    config = nas.load("laptop", ["space.constraints.max_decode_ms=1e-6"])
    assert untried([], config) == []
