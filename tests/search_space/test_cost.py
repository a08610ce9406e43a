from dataclasses import replace

import pytest
import torch

from search_space.cost.cost import Cost, cost, mixer_cost
from search_space.cost.devices import DEVICES
from search_space.cost.objectives import OBJECTIVES, cost_objectives
from search_space.cost.target import TARGETS, Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.layouts.reading import borrows
from search_space.mixers import MIXERS
from search_space.model import build_model
from search_space.parts.base import Dims
from search_space.parts.part import NONE, Part
from tests.search_space.stubs import ECHO

GIB = 2**30
STUDY = TARGETS["study_1p3b"]
TINY = Target(
    layers=2,
    width=4,
    heads=1,
    mlp_width=3,
    vocabulary=5,
    batch=3,
    context=8,
    device={"flops": 1e3, "bandwidth": 1e6, "memory": 5e3},
)


def hybrid(attention):
    return Layout((Block("attention"),) * attention + (Block("gated_deltanet"),) * (24 - attention))


@pytest.mark.parametrize(
    "attention, gib, ms", [(24, 6.0, 16.2), (8, 2.0, 6.1), (4, 1.0, 3.6), (1, 0.25, 1.7), (0, 0.0, 1.1)]
)
def test_worked_table(attention, gib, ms):
    of = cost(hybrid(attention), STUDY)
    assert of.kv_bytes / GIB == gib
    assert round(of.decode_ms, 1) == ms


def test_a_single_short_sequence_hides_the_difference():
    target = replace(STUDY, batch=1, context=4096)
    # .90 and 1.05 where the whole input embedding is read; a step reads one row of it.
    embedding = 1e3 * 2 * 32_000 * 2048 / target.hardware.bandwidth
    assert cost(hybrid(0), target).decode_ms + embedding == pytest.approx(0.90, abs=0.01)
    assert cost(hybrid(24), target).decode_ms + embedding == pytest.approx(1.05, abs=0.01)


def test_parameters_of_the_study():
    d, layers, mlp, vocabulary, heads = 2048, 24, 5632, 32_000, 8
    projections = layers * (5 * d**2 + 3 * d * mlp) + 2 * vocabulary * d
    assert round(projections / 1e6, 1) == 1464.9
    of = cost(hybrid(0), STUDY)
    # Decay and writing strength have a small projection a head, which the round figure leaves out.
    matrices = projections + layers * 2 * heads * d
    # Norms, short convolutions of four taps, and two numbers a head for the decay.
    vectors = layers * (3 * d * 4 + 2 * heads + d // heads + 2 * d) + d
    assert of.parameters == matrices + vectors == 1_466_343_808


def test_transformer_parameters():
    norms = (2 * 24 + 1) * 2048
    matrices = 24 * (4 * 2048**2 + 3 * 2048 * 5632) + 2 * 32_000 * 2048
    assert cost(hybrid(24), STUDY).parameters == matrices + norms


def test_tied_embeddings_are_one_matrix_but_still_a_head():
    untied, tied = (cost(hybrid(0), replace(STUDY, tied_embeddings=tied)) for tied in (False, True))
    assert untied.parameters - tied.parameters == 32_000 * 2048
    assert untied.decode_flops == tied.decode_flops


def test_every_figure_of_a_small_model():
    of = cost(Layout((Block(ECHO),)), TINY)
    matrices = 4 * 4 + 3 * 4 * 3
    parameters = 2 * matrices + 5 * 4 + 2 * 5 * 4
    decode = 2 * (2 * matrices + 20) + 2 * (100 + 4 * 8)
    prefill = 2 * (8 * 2 * matrices + 20) + 2 * (8 * 50 + 4 * 36)
    kv, state = 2 * 10 * 8 * 2, 2 * (1000 * 4 + 7 * 2)
    assert of == Cost(
        parameters=parameters,
        kv_bytes=kv,
        state_bytes=state,
        decode_flops=decode,
        decode_ms=3 * decode,  # 1e3 FLOP/s: bound by arithmetic
        prefill_flops=prefill,
        prefill_ms=prefill,
        train_flops=3 * (prefill + 2 * 7 * 20),
        train_ms=3 * (prefill + 2 * 7 * 20),
        memory_bytes=2 * parameters + 3 * (kv + state),
        fits=False,
        largest_batch=0,
    )
    assert of.cache_bytes == kv + state


def test_states_are_read_and_written_and_caches_only_read():
    target = replace(TINY, device={"flops": 1e30, "bandwidth": 1e3, "memory": 1e6})
    of = cost(Layout((Block(ECHO),)), target)
    unread = 2 * (5 - 3) * 4  # rows of the embedding that no sequence asks for
    assert of.decode_ms == pytest.approx(2 * of.parameters - unread + 3 * (of.kv_bytes + 2 * of.state_bytes))
    assert of.prefill_ms == pytest.approx(2 * of.parameters + of.kv_bytes + of.state_bytes)
    assert of.fits and of.largest_batch == int((1e6 - 2 * of.parameters) // (of.kv_bytes + of.state_bytes))


NODE = {"flops": 1e30, "bandwidth": 1e6, "memory": 1e11, "link": 1e6}


def test_devices_share_out_what_they_read_and_sum_up_what_they_wrote():
    layout, one = Layout((Block("attention"),)), replace(STUDY, device=NODE)
    alone, four = cost(layout, one), cost(layout, replace(one, devices=4))
    parts, vector = 2 * 24, 2048 * 2
    sums = {"decode_ms": parts * 8, "prefill_ms": parts * 32_768, "train_ms": 2 * parts * 32_768}
    for name, summed in sums.items():
        sent = 1e3 * summed * vector * 2 * (3 / 4) / 1e6
        assert getattr(four, name) == pytest.approx(getattr(alone, name) / 4 + sent)
    assert four.memory_bytes == alone.memory_bytes and four.cache_bytes == alone.cache_bytes
    assert four.largest_batch == (4e11 - 2 * four.parameters) // alone.cache_bytes > 0


@pytest.mark.parametrize("kv_heads, copies", [(32, 1), (8, 1), (4, 2), (1, 8)])
def test_fewer_heads_than_devices_are_kept_several_times(kv_heads, copies):
    target = replace(STUDY, kv_heads=kv_heads, devices=8)
    of = cost(hybrid(24), target)
    assert of.memory_bytes == 2 * of.parameters + 8 * copies * of.kv_bytes
    assert cost(hybrid(24), replace(target, devices=1)).kv_bytes == of.kv_bytes


def test_latents_are_kept_by_every_device_and_states_by_one():
    latents, states = (cost(Layout((Block(m),)), replace(STUDY, devices=8)) for m in ("mla", "gated_deltanet"))
    assert latents.memory_bytes == 2 * latents.parameters + 8 * 8 * latents.kv_bytes
    assert states.memory_bytes == 2 * states.parameters + 8 * states.state_bytes


def test_devices_that_cannot_be():
    with pytest.raises(InputError, match=r"target\.devices=3"):
        replace(STUDY, devices=3)
    with pytest.raises(InputError, match=r"target\.device=.*link"):
        replace(TINY, heads=2, width=4, devices=2)
    with pytest.raises(InputError, match=r"target\.device="):
        replace(STUDY, device={"flops": 1.0, "bandwidth": 1.0, "memory": 1.0, "links": 1.0})
    assert "8 h100" in replace(STUDY, devices=8).description


def test_training_moves_the_weights_three_times_at_least():
    slow = cost(Layout((Block(ECHO),)), replace(TINY, device={"flops": 1e30, "bandwidth": 1e3, "memory": 1e6}))
    assert slow.train_ms == pytest.approx(3 * 2 * slow.parameters)


def test_training_a_transformer_takes_six_flops_a_parameter_and_token():
    target = replace(STUDY, context=2048)
    of, embedding = cost(hybrid(24), target), 32_000 * 2048
    attention = 3 * 24 * 4 * 2048 * sum(range(1, 2049))
    norms = 49 * 2048
    assert of.train_flops == 6 * 2048 * (of.parameters - embedding - norms) + attention


@pytest.mark.parametrize("window, kept, seen", [(3, 3, 1 + 2 + 6 * 3), (8, 8, 36), (100, 8, 36)])
def test_a_window_keeps_no_more_than_the_context(window, kept, seen):
    windowed, full = (cost(Layout((Block(Part(ECHO, {"window": w})),)), TINY) for w in (window, None))
    assert windowed.kv_bytes == 2 * 10 * kept * 2
    assert full.decode_flops - windowed.decode_flops == 2 * 4 * (8 - kept)
    assert full.prefill_flops - windowed.prefill_flops == 2 * 4 * (36 - seen)


def test_layouts_of_another_depth_are_resized():
    shallow = Layout(tuple(Block(m) for m in ("gla", "gla", "attention")))
    assert cost(shallow, STUDY) == cost(Layout(shallow.layers * 8), STUDY)


def test_order_does_not_matter():
    blocks = tuple(Block(m) for m in ("gla", "attention", "hgrn", "attention", "gla"))
    assert cost(Layout(blocks), STUDY) == cost(Layout(blocks[::-1]), STUDY)


def test_fewer_key_value_heads_shrink_the_cache():
    assert cost(hybrid(24), replace(STUDY, kv_heads=8)).kv_bytes == cost(hybrid(24), STUDY).kv_bytes / 4


def test_a_block_states_its_options_and_the_target_gives_the_others():
    layout = Layout((Block(Part(ECHO, {"window": 2})), Block(ECHO)))
    assert cost(layout, TINY).kv_bytes == 10 * (2 + 8) * 2
    assert cost(layout, replace(TINY, options={ECHO: {"window": 4}})).kv_bytes == 10 * (2 + 4) * 2


def test_parts_that_are_left_out_cost_nothing():
    both = cost(Layout((Block(ECHO),)), TINY)
    apart = cost(Layout((Block(ECHO, NONE), Block(NONE))), replace(TINY, layers=4))
    assert apart == both
    assert cost(Layout((Block(ECHO, NONE),)), TINY).kv_bytes == both.kv_bytes
    wide = cost(Layout((Block(ECHO, Part("swiglu", {"ratio": 2})),)), TINY)
    assert wide.parameters - both.parameters == 2 * 3 * 4 * (8 - 3)


def test_side_by_side_costs_the_sum():
    pair = Layout.parse("parallel(branches=[attention, sliding_window(window=64)], norm=false)*2")
    full, windowed = (cost(Layout.parse(f"{name}*2"), TINY) for name in ("attention", "sliding_window(window=64)"))
    both = cost(pair, TINY)
    assert both.kv_bytes == full.kv_bytes + windowed.kv_bytes
    without_mixers = cost(Layout.parse("none/swiglu*2"), TINY).parameters + 2 * 4
    assert both.parameters == full.parameters + windowed.parameters - without_mixers


@pytest.mark.parametrize("text", ["(gla*2 attention)*8", "hgrn*23 attention", "(retnet/none none)*12", "hgrn2*24"])
def test_a_model_has_the_parameters_of_its_cost(text):
    layout = Layout.parse(text)
    with torch.device("meta"):
        model = build_model(STUDY.layout(layout), STUDY.sizes)
    assert sum(p.numel() for p in model.parameters()) == cost(layout, STUDY).parameters


@pytest.mark.parametrize("scale", TARGETS)
@pytest.mark.parametrize("mixer", [name for name in MIXERS.names() if not borrows(Part(name))])
def test_every_mixer_has_a_cost_at_the_scales_of_the_study(mixer, scale):
    of = cost(Layout((Block(mixer),)), TARGETS[scale])
    low, high = {"study_1p3b": (1.2e9, 1.95e9), "study_340m": (3.2e8, 5.2e8)}[scale]
    assert low < of.parameters < high
    assert of.cache_bytes > 0 and 0 < of.decode_flops < of.prefill_flops


def test_objectives_are_figures_of_the_cost():
    of = cost(hybrid(8), STUDY)
    figures = cost_objectives()
    assert figures["decode_ms"](of) == of.decode_ms
    assert all(figure(of) > 0 for figure in figures.values()) and "recall" not in figures
    cheaper = cost(hybrid(4), STUDY)
    for name in ("decode_ms", "cache_bytes", "prefill_ms", "largest_batch"):
        losses = OBJECTIVES.get(name).losses([figures[name](cheaper), figures[name](of)])
        assert losses[0] < losses[1]


def test_mixers_are_built_once_and_take_no_memory():
    first = mixer_cost(Part("attention"), Dims(width=2**20, heads=1))
    assert first is mixer_cost(Part("attention"), Dims(width=2**20, heads=1))


@pytest.mark.parametrize(
    "fields, key, hint",
    [
        ({"layers": 0}, "target.layers", "positive integer"),
        ({"batch": -1}, "target.batch", "positive integer"),
        ({"context": 1.5}, "target.context", "positive integer"),
        ({"kv_heads": 0}, "target.kv_heads", "positive integer"),
        ({"kv_heads": 3}, "target.kv_heads", "a divisor of heads=32"),
        ({"device": "h10"}, "target.device", "did you mean 'h100'?"),
        ({"device": {"flops": 1e12}}, "target.device", "exactly the keys bandwidth, flops, memory"),
        (
            {"device": {"flops": 0, "bandwidth": 1, "memory": 1}},
            "target.device.flops",
            "a positive number",
        ),
        ({"options": {"glaa": {}}}, "target.options.glaa", "did you mean 'gla'?"),
        ({"options": {"gla": 3}}, "target.options.gla", "a mapping"),
    ],
)
def test_mistakes_name_the_key(fields, key, hint):
    with pytest.raises(InputError) as error:
        Target(**fields)
    assert error.value.key == key
    assert hint in error.value.expected


def test_an_option_that_the_mixer_lacks():
    with pytest.raises(InputError, match=r"target\.options\.sliding_window\.windo=3.*did you mean 'window'"):
        replace(STUDY, options={"sliding_window": {"windo": 3}})


@pytest.mark.parametrize("name", DEVICES)
def test_devices_serve_the_study(name):
    of = cost(hybrid(1), replace(STUDY, device=name))
    assert of.fits and 0 < of.decode_ms < of.prefill_ms
