import json
from dataclasses import replace

import pytest

from search_space.cost.cost import cost
from search_space.cost.measured import PartTimes, Profile
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout

SMALL = Target(layers=4, width=64, heads=4, mlp_width=128, vocabulary=100, batch=2, context=300)


def linear(part_ms: float, per_token: float = 0.0, per_cached: float = 0.0) -> PartTimes:
    """A part whose times follow a formula, measured at a few places."""
    return PartTimes(
        decode=[[b, n, part_ms + per_cached * b * n] for b in (1, 8) for n in (100, 1000)],
        prefill=[[t, per_token * t + per_cached * t * t] for t in (100, 1000)],
    )


@pytest.fixture
def path(tmp_path):
    parts = {"swiglu": linear(1.0, 0.1), "ends": linear(5.0), "gla": linear(2.0, 0.2)}
    parts["attention"] = linear(1.0, 0.1, per_cached=0.01)
    Profile(about={"device": "toy"}, sizes=SMALL.profiled_sizes, flops=1.0, bandwidth=1.0, parts=parts).save(
        tmp_path / "p.json"
    )
    return str(tmp_path / "p.json")


@pytest.mark.parametrize("batch, context", [(1, 100), (8, 1000), (4, 300), (8, 50), (64, 10_000), (1, 1)])
def test_decode_is_bilinear(batch, context):
    part = linear(2.0, per_cached=0.01)
    at_least = 0.5 * part.decode[0][2]  # far below what was measured nothing is free
    assert part.decode_ms(batch, context) == pytest.approx(max(2.0 + 0.01 * batch * context, at_least), rel=0.15)


@pytest.mark.parametrize("tokens", [100, 300, 1000, 5000])
def test_prefill_is_quadratic(tokens):
    part = linear(1.0, per_token=0.1, per_cached=0.01)
    assert part.prefill_ms(tokens) == pytest.approx(0.1 * tokens + 0.01 * tokens**2)


def test_noise_does_not_make_long_contexts_cheap():
    part = PartTimes(decode=[[1, 100, 2.0], [1, 1000, 1.9]], prefill=[[10, 1.0]])
    assert part.decode_ms(1, 100_000) == 1.9
    assert part.prefill_ms(20) == 2.0


def test_costs_are_sums_over_layers(path):
    layout = Layout((Block("gla"), Block("gla"), Block("attention"), Block("gla")))
    plain, measured = cost(layout, SMALL), cost(layout, replace(SMALL, profile=path))
    assert measured.decode_ms == pytest.approx(3 * 2.0 + 1.0 + 0.01 * 2 * 300 + 4 * 1.0 + 5.0)
    assert measured.prefill_ms == pytest.approx(300 * (3 * 0.2 + 0.1 + 0.01 * 300 + 4 * 0.1))
    assert measured.train_ms == 1e3 * plain.train_flops  # at the rates that were measured: 1 FLOP/s
    same = {name: getattr(plain, name) for name in ("decode_ms", "prefill_ms", "train_ms")}
    assert replace(measured, **same) == plain


def test_what_was_not_measured_is_named(path):
    with pytest.raises(InputError, match="hgrn"):
        cost(Layout((Block("hgrn"),)), replace(SMALL, profile=path))
    with pytest.raises(InputError, match="width 128"):
        Target(**{**SMALL.profiled_sizes, "width": 128}, profile=path)


@pytest.mark.parametrize("content", [None, "", "[]", "{}", json.dumps({"parts": {"swiglu": {"decode": []}}})])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "other.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=r"target\.profile"):
        replace(SMALL, profile=str(path))


def test_the_faster_of_two_measurements():
    one = PartTimes(decode=[[1, 8, 2.0], [1, 16, 5.0]], prefill=[[8, 1.0]], state_bytes=[[8, 64]])
    other = PartTimes(decode=[[1, 8, 3.0], [1, 16, 4.0]], prefill=[[8, 0.5]])
    assert one.faster(other) == PartTimes(decode=[[1, 8, 2.0], [1, 16, 4.0]], prefill=[[8, 0.5]], state_bytes=[[8, 64]])
