"""The contract of a sampler, for users' own as well.

from nas.testing import SamplerContract

class TestMine(SamplerContract):
    sampler = "my_package.samplers:mine"
"""

import random
from collections.abc import Collection, Mapping, Sequence
from functools import cache

import pytest

from nas.search.proposer import Proposer
from search_space.cost.cost import cost
from search_space.cost.objectives import cost_objectives
from search_space.cost.target import Target
from search_space.layouts.layout import Layout
from search_space.space.choices import SpaceConfig
from search_space.space.constraints import Constraints
from search_space.space.space import Space

TARGET = Target()
MIXERS = ["attention", "gla", "hgrn2", "hgrn"]
WINDOWS = {"mixer": "sliding_window", "window": {"choose": [512, 2048, 8192]}, "mlp": {"ratio": {"choose": [2, 2.75]}}}
SPACES = {
    "pattern": SpaceConfig(layers=12, choices=MIXERS, tie="pattern", tie_size=4),
    "limits": SpaceConfig(
        layers=5, choices=MIXERS, constraints=Constraints(at_most={"attention": 2}, at_least={"hgrn2": 1})
    ),
    "budget": SpaceConfig(layers=4, choices=MIXERS, constraints=Constraints(max_cache_bytes=1e9)),
    "fields": SpaceConfig(layers=4, choices=["attention", "local", "gla"], blocks={"local": WINDOWS}),
}
OBJECTIVES_OF = {
    "two": ["recall", "decode_ms"],
    "both-high": ["recall", "largest_batch"],
    "three": ["recall", "decode_ms", "cache_bytes"],
    "two-measured": ["text_loss", "recall", "cache_bytes"],
}


@cache
def costs(layout: Layout) -> dict[str, float]:
    """Every cost objective at the target of the contract."""
    price = cost(layout, TARGET)
    return {name: float(of(price)) for name, of in cost_objectives().items()}


def measured(layout: Layout) -> dict[str, float]:
    """A made-up run: cache helps, and so does what is remembered late in the model."""
    late = sum(block.mixer.kind == "attention" for block in layout.layers[1:])
    recall = min(1.0, 0.2 + costs(layout)["cache_bytes"] / 4e9 + 0.1 * late)
    return {"recall": recall, "text_loss": 4.0 - 2.0 * recall}


class SamplerContract:
    """Inherit it, and let `sampler` be a name in the catalogue or a dotted path."""

    sampler: str

    @pytest.fixture(params=SPACES)
    def space(self, request: pytest.FixtureRequest) -> Space:
        """What is searched."""
        return Space(SPACES[request.param], TARGET)

    @pytest.fixture(params=OBJECTIVES_OF)
    def objectives(self, request: pytest.FixtureRequest) -> list[str]:
        """What is traded."""
        return OBJECTIVES_OF[request.param]

    def proposer(self, space: Space, objectives: Sequence[str] = ("recall", "decode_ms"), seed: int = 0) -> Proposer:
        """What asks the sampler in a search."""
        return Proposer(space, objectives, costs, self.sampler, seed)

    def tell(self, proposer: Proposer, layout: Layout) -> None:
        """Passes on a made-up run."""
        proposer.tell(layout, wanted(proposer, measured(layout)))

    def ask(self, proposer: Proposer, taken: Collection[Layout]) -> Layout:
        """A layout; there is one left."""
        layout = proposer.propose(taken)
        assert layout is not None and layout not in taken
        return layout

    def found(self, proposer: Proposer, count: int) -> list[Layout]:
        """Layouts proposed one after the other, each told before the next."""
        layouts: list[Layout] = []
        for _ in range(count):
            layouts.append(self.ask(proposer, layouts))
            self.tell(proposer, layouts[-1])
        return layouts

    def test_it_proposes_new_feasible_layouts(self, space: Space) -> None:
        layouts = self.found(self.proposer(space), 14)
        assert len(set(layouts)) == 14 and all(space.feasible(layout) for layout in layouts)

    def test_it_takes_any_objectives(self, objectives: list[str]) -> None:
        space = Space(SPACES["fields"], TARGET)
        layouts = self.found(self.proposer(space, objectives), 10)
        assert len(set(layouts)) == 10

    def test_several_may_be_asked_for_before_any_is_told(self, space: Space) -> None:
        proposer, layouts = self.proposer(space), list[Layout]()
        for _ in range(3):
            for _ in range(4):
                layouts.append(self.ask(proposer, layouts))
            for layout in reversed(layouts[-4:]):
                self.tell(proposer, layout)
        assert len(set(layouts)) == 12

    def test_the_same_seed_gives_the_same_proposals(self) -> None:
        space = Space(SPACES["fields"], TARGET)
        one, other = (self.found(self.proposer(space, seed=3), 10) for _ in range(2))
        assert one == other

    def test_further_seeds_failures_and_other_layouts_are_taken(self) -> None:
        space = Space(SPACES["limits"], TARGET)
        proposer, drawn, taken = self.proposer(space), random.Random(1), set[Layout]()
        for _ in range(10):
            elsewhere, outside = space.sample(drawn), Layout.parse("(deltanet)*5")
            for layout in (elsewhere, elsewhere, outside):
                self.tell(proposer, layout)
            failed = self.ask(proposer, taken | {elsewhere})
            proposer.tell(failed, None)
            taken |= {elsewhere, failed}
        assert self.ask(proposer, taken)

    def test_a_used_up_space_ends_the_proposals(self) -> None:
        space = Space(SpaceConfig(layers=3, choices=["attention", "gla"]), TARGET)
        proposer = self.proposer(space)
        layouts = self.found(proposer, 8)
        assert len(set(layouts)) == 8 and proposer.propose(layouts) is None


def wanted(proposer: Proposer, values: Mapping[str, float]) -> dict[str, float]:
    """Those of the values that the search is after."""
    return {name: value for name, value in values.items() if name in proposer.problem.measured}
