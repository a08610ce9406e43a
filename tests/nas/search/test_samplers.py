"""Every sampler passes the contract; what the search's own sampler has to do beyond it."""

from collections import Counter
from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState

from nas.search.proposer import ATTEMPTS, Proposer
from nas.search.samplers import SAMPLERS
from nas.testing import SamplerContract
from nas.testing.samplers import TARGET, costs
from search_space.space.choices import SpaceConfig
from search_space.space.constraints import Constraints
from search_space.space.space import Space


class TestThompson(SamplerContract):
    sampler = "thompson"


class TestTPE(SamplerContract):
    sampler = "tpe"


class TestNSGA2(SamplerContract):
    sampler = "nsga2"


class TestRandom(SamplerContract):
    sampler = "random"


class Stubborn(optuna.samplers.RandomSampler):
    """Proposes one and the same layout, whatever is known; the search goes on all the same."""

    def __init__(self, problem, seed):
        super().__init__(seed)

    def sample_independent(self, study, trial, name, distribution):
        return distribution.choices[0] if hasattr(distribution, "choices") else distribution.low


class TestOwn(SamplerContract):
    sampler = f"{__name__}:Stubborn"


def test_all_built_in_samplers_are_tested():
    tested = {each.sampler for each in (TestThompson, TestTPE, TestNSGA2, TestRandom)}
    assert tested == set(SAMPLERS.names())


SMALL = SpaceConfig(layers=4, choices=["attention", "gla", "hgrn2"])
WORTH = {"attention": 0.5, "gla": 0.2, "hgrn2": 0.3, "hgrn": 0.0}


def recall(layout):
    """Made up: attention helps, but not in layer 0; kinds of mixers differ."""
    later = [WORTH[block.mixer.kind] for block in layout.layers[1:]]
    return min(1.0, max(later) + sum(later) / 12)


def search(proposer, count):
    """Layouts proposed one after the other, each told before the next."""
    found = []
    for _ in range(count):
        layout = proposer.propose(found)
        found.append(layout)
        proposer.tell(layout, {"recall": recall(layout)})
    return found


def asked(proposer):
    """State -> the layouts of the study's trials."""
    layouts = {}
    for trial in proposer._study.trials:
        layouts.setdefault(trial.state, []).append(proposer.problem.space.layout(proposer._values(trial.params)))
    return layouts


@pytest.mark.parametrize("sampler", SAMPLERS.names())
class TestUsedUp:
    """A space of 81 layouts, all of which are proposed."""

    @pytest.fixture
    def proposer(self, sampler):
        return Proposer(Space(SMALL, TARGET), ["recall", "decode_ms"], costs, sampler, seed=0)

    def test_each_layout_is_proposed_once_and_told_once(self, proposer):
        found = search(proposer, 81)
        assert len(set(found)) == 81 and proposer.propose(found) is None
        told = Counter(asked(proposer)[TrialState.COMPLETE])
        assert set(told) == set(found) and set(told.values()) == {1}

    def test_the_sampler_is_asked_nothing_more(self, proposer, monkeypatch):
        everything = proposer.problem.space.all(81)
        monkeypatch.setattr(proposer._study, "ask", lambda *_: pytest.fail("asked"))
        assert len(everything) == 81 and proposer.propose(everything) is None

    def test_the_last_layout_is_found(self, proposer):
        """However often the sampler proposes what is taken."""
        *taken, last = proposer.problem.space.all(81)
        assert proposer.propose(taken) == last
        assert len(proposer._study.trials) <= ATTEMPTS


def test_what_is_taken_is_no_candidate_of_thompson():
    """So each proposal is one fit of the model."""
    space = Space(replace(SMALL, layers=3), TARGET)
    proposer = Proposer(space, ["recall", "decode_ms"], costs, "thompson", seed=0)
    assert len(set(search(proposer, 27))) == 27
    assert set(asked(proposer)) == {TrialState.COMPLETE}


def test_thompson_finds_the_front_of_a_plain_problem():
    config = SpaceConfig(layers=4, choices=list(WORTH), constraints=Constraints(at_most={"attention": 2}))
    found = search(Proposer(Space(config, TARGET), ["recall", "decode_ms"], costs, "thompson", seed=0), 45)
    best = dict.fromkeys((0, 1), 0.0)
    for layout in found:
        attention = sum(block.mixer.kind == "attention" for block in layout.layers)
        best[attention] = max(best.get(attention, 0.0), recall(layout))
    assert best[1] == pytest.approx(0.5 + (0.5 + 0.3 + 0.3) / 12)
    assert best[0] == pytest.approx(0.3 + 0.9 / 12)


def test_thompson_finds_the_best_field():
    """Recall that is best at one window, which is neither the smallest nor the largest."""
    windows = [256, 512, 1024, 2048, 4096, 8192]
    block = {"mixer": "sliding_window", "window": {"choose": windows}}
    config = SpaceConfig(layers=3, choices=["local", "gla"], blocks={"local": block})

    def value(layout):
        chosen = [dict(b.mixer.options)["window"] for b in layout.layers if b.mixer.kind == "sliding_window"]
        return sum(0.3 - abs(windows.index(window) - 3) / 20 for window in chosen)

    proposer, found = Proposer(Space(config, TARGET), ["recall", "decode_ms"], costs, "thompson", seed=0), {}
    for _ in range(40):
        layout = proposer.propose(found)
        found[layout] = value(layout)
        proposer.tell(layout, {"recall": found[layout]})
    best = max(found, key=found.get)
    assert value(best) == pytest.approx(0.9), "the window of 2048 in all layers"
