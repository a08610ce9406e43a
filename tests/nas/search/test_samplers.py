"""A contract that every sampler passes, and what the search's own sampler has to do beyond it."""

import random

import optuna
import pytest

from nas.search.proposer import Proposer
from nas.search.samplers import SAMPLERS
from search_space.cost.cost import cost
from search_space.cost.target import Target
from search_space.space.constraints import Constraints
from search_space.space.space import Space, SpaceConfig

TARGET = Target()


def efficiency(layout):
    return cost(layout, TARGET).decode_ms


def score(layout):
    """A made-up recall: attention helps, but not in layer 0; kinds of mixers differ."""
    worth = {"attention": 0.5, "gla": 0.2, "hgrn2": 0.3, "hgrn": 0.0}
    later = [worth[b.mixer] for b in layout.layers[1:]]
    return min(1.0, max(later) + sum(later) / 12)


@pytest.fixture
def space():
    config = SpaceConfig(
        layers=4, choices=["attention", "gla", "hgrn2", "hgrn"], constraints=Constraints(at_most={"attention": 2})
    )
    return Space(config, TARGET)


@pytest.mark.parametrize("name", SAMPLERS.names())
class TestEverySampler:
    def test_proposes_new_feasible_layouts(self, name, space):
        proposer = Proposer(space, efficiency, name, seed=0)
        taken = set()
        for _ in range(40):
            layout = proposer.propose(taken)
            assert layout is not None and layout not in taken and space.feasible(layout)
            taken.add(layout)
            proposer.tell(layout, score(layout))

    def test_several_may_be_asked_for_before_any_is_told(self, name, space):
        proposer = Proposer(space, efficiency, name, seed=0)
        taken = set()
        for _ in range(12):
            taken.add(proposer.propose(taken))
        assert len(taken) == 12

    def test_same_seed_same_proposals(self, name, space):
        def proposals():
            proposer, found = Proposer(space, efficiency, name, seed=3), []
            for _ in range(12):
                found.append(proposer.propose(found))
                proposer.tell(found[-1], score(found[-1]))
            return found

        assert proposals() == proposals()

    def test_failures_and_foreign_layouts_are_taken(self, name, space):
        proposer = Proposer(space, efficiency, name, seed=0)
        for _ in range(10):
            drawn = space.sample(random.Random(1))
            proposer.tell(drawn, score(drawn))
            proposer.tell(proposer.propose({drawn}), None)

    def test_an_exhausted_space_ends_the_proposals(self, name):
        small = Space(SpaceConfig(layers=2, choices=["attention", "gla"]), TARGET)
        proposer, taken = Proposer(small, efficiency, name, seed=0), set()
        for _ in range(4):
            layout = proposer.propose(taken)
            taken.add(layout)
            proposer.tell(layout, 0.5)
        assert len(taken) == 4 and proposer.propose(taken) is None


def test_thompson_finds_the_front_of_a_plain_problem(space):
    proposer, scores = Proposer(space, efficiency, "thompson", seed=0), {}
    for _ in range(45):
        layout = proposer.propose(scores)
        scores[layout] = score(layout)
        proposer.tell(layout, scores[layout])
    counts = {b: [s for s in scores if sum(x.mixer == "attention" for x in s.layers) == b] for b in (0, 1)}
    best_with_one = max(score(s) for s in counts[1])
    assert best_with_one == pytest.approx(0.5 + (0.5 + 0.3 + 0.3) / 12)
    assert max(score(s) for s in counts[0]) == pytest.approx(0.3 + 0.9 / 12)


def test_a_users_sampler_comes_in_by_dotted_path(space):
    proposer = Proposer(space, efficiency, "tests.nas.search.test_samplers:my_sampler", seed=0)
    assert proposer.propose(()) is not None


def my_sampler(space, efficiency, seed):
    return optuna.samplers.RandomSampler(seed=seed)
