"""The contract of a channel mixer, to be used like that of a mixer."""

from collections.abc import Callable

import pytest
import torch
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from search_space.parts.base import ChannelMixer, Dims
from search_space.parts.build import options_of
from search_space.testing.mixers import DIMS, tokens


class ChannelMixerContract:
    """Inherit it, and let the fixture `build` return a function that builds the channel mixer at given sizes."""

    @pytest.fixture
    def build(self) -> Callable[[Dims], ChannelMixer]:
        raise NotImplementedError("a subclass gives the fixture `build`")

    @pytest.fixture
    def part(self, build) -> ChannelMixer:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return build(DIMS)

    def test_every_token_is_mapped_by_itself(self, part):
        x = tokens(9)
        assert_close(torch.stack([part(token) for token in x.unbind(1)], 1), part(x), atol=1e-6, rtol=1e-5)

    def test_the_declared_parameters_and_products_are_the_real_ones(self, part):
        cost = part.cost()
        assert cost.parameters == sum(p.numel() for p in part.parameters())
        with FlopCounterMode(display=False) as counter:
            part(tokens(1)[:1, 0])
        assert cost.product_flops <= counter.get_total_flops() <= cost.step_flops(1)

    def test_it_keeps_nothing(self, part):
        cost = part.cost()
        assert cost.cache_elements(100) + cost.state_elements + cost.conv_elements == 0

    def test_the_cost_needs_no_memory(self, build, part):
        with torch.device("meta"):
            assert build(DIMS).cost() == part.cost()

    def test_what_is_scaled_is_an_option_and_a_size(self, part):
        for name in part.scaled:
            assert name in options_of(type(part)) and (getattr(part, name) is None or getattr(part, name) > 0)

    def test_gradients_reach_every_parameter(self, part):
        (part(tokens(9)) * tokens(9, seed=1)).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in part.parameters())

    def test_its_output_can_start_at_zero(self, part):
        part.zero_output()
        assert not part(tokens(2)).any()

    def test_it_says_where_it_comes_from(self, part):
        assert part.source and type(part).__doc__
