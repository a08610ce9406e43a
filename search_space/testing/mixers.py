"""The contract of a token mixer.

A mixer of your own passes the same suite as the built-in ones:

    from search_space.testing import MixerContract

    class TestMine(MixerContract):
        @pytest.fixture
        def build(self):
            return lambda dims: Mine(dims)

One that reads from layers below passes it on top of them: `Tower([Attention(dims), Mine(dims)])`.

Shapes: B sequences, T tokens, D model width.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from kernels.vmap import stacked
from search_space.parts.base import Dims, Mixer, PartCost, Scaling, State, state_elements
from search_space.parts.below import blank
from search_space.parts.build import options_of
from search_space.parts.families import FAMILIES

BATCH = 3
LENGTHS = [1, 2, 17, 33]
SPLITS = [(1, 1), (1, 16), (16, 17), (2, 31)]
CLOSE: dict[str, Any] = {"atol": 2e-5, "rtol": 1e-4}

DIMS = Dims(width=32, heads=2, mlp_width=48, layer=1, layers=3)
"""Sizes that the contract builds a mixer at: in the middle of three layers."""

Build = Callable[[Dims], Mixer]


class MixerContract:
    """Inherit it, and let the fixture `build` return a function that builds the mixer anew at given sizes."""

    @pytest.fixture
    def build(self) -> Build:
        raise NotImplementedError("a subclass gives the fixture `build`")

    @pytest.fixture
    def mixer(self, build: Build) -> Mixer:
        return seeded(lambda: build(DIMS))

    @pytest.mark.parametrize("length", LENGTHS)
    def test_output_has_the_shape_and_type_of_the_input(self, mixer, length):
        x = tokens(length)
        y, _ = mixer(x)
        assert y.shape == x.shape
        assert y.dtype == x.dtype == torch.float32

    def test_a_later_token_changes_nothing_before_it(self, mixer):
        x = tokens(33)
        y, _ = mixer(x)
        for place in (1, 16, 32):
            changed = x.clone()
            changed[:, place:] = tokens(33 - place, seed=1)
            other, _ = mixer(changed)
            assert_close(other[:, :place], y[:, :place], atol=1e-6, rtol=0)
            assert not torch.allclose(other[:, place], y[:, place]), "a token must change its own output"

    @pytest.mark.parametrize("length", LENGTHS)
    def test_step_by_step_equals_all_at_once(self, mixer, length):
        x = tokens(length)
        y, state = mixer(x)
        steps, stepped = by_steps(mixer, x, mixer.initial_state(BATCH))
        assert_close(steps, y, **CLOSE)
        assert_same_state(stepped, state)

    @pytest.mark.parametrize(("first", "second"), SPLITS)
    def test_in_two_parts_equals_all_at_once(self, mixer, first, second):
        x = tokens(first + second)
        y, state = mixer(x)
        y1, between = mixer(x[:, :first])
        y2, after = mixer(x[:, first:], between)
        assert_close(torch.cat([y1, y2], 1), y, **CLOSE)
        assert_same_state(after, state)

    def test_steps_go_on_where_a_sequence_ended(self, mixer):
        x = tokens(33)
        y, _ = mixer(x)
        _, state = mixer(x[:, :20])
        steps, _ = by_steps(mixer, x[:, 20:], state)
        assert_close(steps, y[:, 20:], **CLOSE)

    def test_a_stack_of_models_computes_what_each_does(self, build):
        """What `search.seeds_per_job` needs: `forward` runs under `torch.vmap`."""
        models = [seeded(lambda: build(DIMS), seed) for seed in range(2)]
        x = torch.stack([tokens(17, seed) for seed, model in enumerate(models)])
        parameters, buffers = stack_module_state(models)
        with stacked():
            y = torch.vmap(lambda *inputs: functional_call(models[0], inputs[:2], inputs[2])[0])(parameters, buffers, x)
        assert_close(y, torch.stack([model(each)[0] for model, each in zip(models, x, strict=True)]), **CLOSE)

    def test_the_initial_state_is_that_of_no_tokens(self, mixer):
        x = tokens(17)
        assert_close(mixer(x, mixer.initial_state(BATCH))[0], mixer(x)[0], **CLOSE)

    def test_a_state_can_be_used_twice(self, mixer):
        x = tokens(17)
        _, state = mixer(x)
        once = mixer.step(x[:, 0], state)[0], mixer(x, state)[0]
        again = mixer.step(x[:, 0], state)[0], mixer(x, state)[0]
        assert_close(again, once, atol=0, rtol=0)

    @pytest.mark.parametrize("length", [0, *LENGTHS])
    def test_the_declared_state_is_the_real_one(self, mixer, length):
        state = mixer.initial_state(BATCH)
        if length:
            _, state = mixer(tokens(length), state)
        assert state_elements(state) == BATCH * declared_elements(mixer.cost(), length)
        assert all(t.shape[0] == BATCH for t in flat(state).values() if isinstance(t, Tensor))

    def test_the_declared_parameters_are_the_real_ones(self, mixer):
        assert mixer.cost().parameters == sum(p.numel() for p in mixer.parameters())

    def test_the_declared_products_are_the_counted_ones(self, mixer):
        """Of a step without context: the counter sees all products; those of the state may be sums in our kernels."""
        cost, state, token = mixer.cost(), mixer.initial_state(1), tokens(1)[:1, 0]
        with FlopCounterMode(display=False) as counter:
            mixer.step(token, state)
        of_state = cost.decode_flops + sum(cache.flops for cache in cost.caches)
        assert cost.product_flops <= counter.get_total_flops() <= cost.product_flops + of_state

    def test_the_cost_needs_no_memory(self, build, mixer):
        with torch.device("meta"):
            assert build(DIMS).cost() == mixer.cost()

    def test_the_cost_does_not_depend_on_the_place(self, build, mixer):
        for layer in (0, 2):
            assert build(replace(DIMS, layer=layer)).cost() == mixer.cost()

    def test_decoding_costs_something(self, mixer):
        cost = mixer.cost()
        assert cost.step_flops(1) > cost.product_flops
        # Not every token need be kept.
        assert cost.cache_elements(64) + cost.state_elements + cost.conv_elements > 0

    def test_a_state_of_many_tokens_is_had_without_reading_them(self, mixer):
        _, state = mixer(tokens(17))
        assert shapes(mixer.state_after(BATCH, 17)) == shapes(state)

    def test_what_is_scaled_is_an_option_and_a_size(self, mixer):
        options = options_of(type(mixer))
        for name, how in mixer.scaled.items():
            assert isinstance(how, Scaling) and name in options
            assert getattr(mixer, name) > 0

    @pytest.mark.parametrize("scale", [1.0, 30.0], ids=["usual-inputs", "large-inputs"])
    def test_gradients_are_finite_and_reach_every_parameter(self, build, scale):
        """Of the deepest of three layers that share what they share over depth."""
        layers = [seeded(partial(build, replace(DIMS, layer=i))) for i in range(3)]
        mixer = layers[-1]
        type(mixer).share(layers)
        x = (scale * tokens(33)).requires_grad_()
        y, _ = mixer(x)
        (y * torch.randn(y.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
        for name, parameter in [("the input", x), *mixer.named_parameters()]:
            assert parameter.grad is not None, f"no gradient reaches {name}"
            assert parameter.grad.isfinite().all(), f"the gradient of {name} is not finite"
            if scale == 1:
                assert parameter.grad.any(), f"the gradient of {name} is zero"

    def test_the_same_seed_gives_the_same_numbers(self, build):
        one, two, other = (seeded(lambda: build(DIMS), seed) for seed in (0, 0, 1))
        x = tokens(17)
        assert torch.equal(one(x)[0], two(x)[0])
        assert not torch.equal(one(x)[0], other(x)[0])

    def test_its_output_can_start_at_zero_and_be_learnt(self, mixer):
        mixer.zero_output()
        y, _ = mixer(tokens(2))
        assert not y.any()
        (y * torch.randn(y.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
        assert any(p.grad is not None and p.grad.any() for p in mixer.parameters())

    def test_its_gates_can_start_open(self, mixer):
        """What proxies start with: still the same step by step."""
        mixer.open_gates()
        x = tokens(17)
        y, state = mixer(x)
        steps, stepped = by_steps(mixer, x, mixer.initial_state(BATCH))
        assert torch.isfinite(y).all()
        assert_close(steps, y, **CLOSE)
        assert_same_state(stepped, state)

    def test_what_it_offers_can_be_read_above(self, mixer):
        x = tokens(5)
        for form in mixer.offers:
            mixer.lend(form)
            assert mixer.takes_below
            below = blank(mixer, x, 5)
            mixer(x, None, below)
            below.rise()
            keys, values = below.read(form)
            assert keys.shape == (*x.shape[:2], form.kv_heads, form.key_size)
            assert values.shape == (*x.shape[:2], form.kv_heads, form.value_size)

    def test_it_says_where_it_comes_from(self, mixer):
        assert mixer.source and type(mixer).__doc__

    def test_it_names_its_family(self, mixer):
        assert mixer.family in FAMILIES, f"set the class attribute `family`, one of {', '.join(FAMILIES)}"


def seeded(build: Callable[[], Mixer], seed: int = 0) -> Mixer:
    """Builds a mixer whose parameters come from a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


def tokens(length: int, seed: int = 0, width: int = DIMS.width) -> Tensor:
    """Standard normal inputs [B, length, D]."""
    generator = torch.Generator().manual_seed(100 * length + seed)
    return torch.randn(BATCH, length, width, generator=generator)


def shapes(state: State) -> dict[str, Any]:
    """Shapes of the tensors of a state, and its numbers."""
    return {
        name: shapes(x) if isinstance(x, dict) else tuple(x.shape) if isinstance(x, Tensor) else x
        for name, x in state.items()
    }


def by_steps(mixer: Mixer, x: Tensor, state: State) -> tuple[Tensor, State]:
    """Mixes x [B, T, D] token by token."""
    outputs = []
    for token in x.unbind(1):
        y, state = mixer.step(token, state)
        outputs.append(y)
    return torch.stack(outputs, 1), state


def declared_elements(cost: PartCost, length: int) -> int:
    """State elements of one sequence after `length` tokens, by its cost."""
    return cost.cache_elements(length) + cost.state_elements + cost.conv_elements


def flat(state: State) -> State:
    """A state without nesting."""
    found: State = {}
    for name, value in state.items():
        found |= {f"{name}.{k}": v for k, v in flat(value).items()} if isinstance(value, dict) else {name: value}
    return found


def assert_same_state(one: State, other: State) -> None:
    """Both states hold the same entries."""
    one, other = flat(one), flat(other)
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, Tensor):
            assert_close(value, other[name], **CLOSE)
        else:
            assert value == other[name]
