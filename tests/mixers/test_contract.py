from functools import partial

import pytest

from search_space.mixers import MIXERS, build_mixer
from search_space.parts.base import Dims
from tests.mixer_contract import MixerContract

SMALL = {"heads": 2, "key_size": 8}
CASES = {
    **{name: (name, {}) for name in MIXERS.names()},
    "attention-grouped": ("attention", {"heads": 4, "kv_heads": 2, "value_size": 4, "conv": 3}),
    "attention-without-positions": ("attention", {"rope_theta": None}),
    "gated_attention-small": ("gated_attention", {**SMALL, "conv": 4}),
    "sliding_window-of-16": ("sliding_window", {**SMALL, "window": 16}),
    "sliding_window-of-1": ("sliding_window", {"window": 1}),
    "retnet-small": ("retnet", {**SMALL, "conv": 4}),
    "gla-small": ("gla", {**SMALL, "conv": 4}),
    "hgrn-small": ("hgrn", {"state_size": 24, "conv": 4}),
    "hgrn2-small": ("hgrn2", {**SMALL, "conv": 4}),
    "deltanet-small": ("deltanet", {**SMALL, "conv": 2}),
    "deltanet-without-convolution": ("deltanet", {**SMALL, "conv": 0}),
    "gated_deltanet-small": ("gated_deltanet", {**SMALL, "value_size": 12, "conv": 1}),
}


class TestBuiltIn(MixerContract):
    @pytest.fixture(params=CASES.values(), ids=CASES.keys())
    def build(self, request):
        name, options = request.param
        return partial(build_mixer, name, Dims(width=32, heads=2), options)
