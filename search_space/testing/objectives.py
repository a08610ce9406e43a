"""The contract of an objective."""

import pytest

from search_space.cost.cost import Cost, cost
from search_space.cost.objectives import Objective
from search_space.cost.target import Target
from search_space.layouts.layout import Layout


class ObjectiveContract:
    """Inherit it, and let the fixture `objective` return the objective."""

    @pytest.fixture
    def objective(self) -> Objective:
        raise NotImplementedError("a subclass gives the fixture `objective`")

    @pytest.fixture
    def price(self) -> Cost:
        return cost(Layout.parse("(gla*5 attention)*4"), Target())

    def test_losses_are_low_where_values_are_good(self, objective):
        low, high = objective.losses([1.0, 2.0])
        assert low < high if objective.better == "low" else low > high

    def test_equal_steps_count_alike_on_its_scale(self, objective):
        values = [1.0, 2.0, 4.0] if objective.ratio else [1.0, 2.0, 3.0]
        one, two, three = objective.losses(values)
        assert two - one == pytest.approx(three - two)

    def test_zero_has_a_place(self, objective):
        assert abs(objective.losses(0.0)) < float("inf")

    def test_it_can_be_printed(self, objective):
        assert objective.description and float(objective.show(1.25)) == pytest.approx(1.25, rel=0.25)

    def test_a_cost_is_a_number_of_the_cost(self, objective, price):
        if not objective.measured:
            assert float(objective.of_cost(price)) >= 0
