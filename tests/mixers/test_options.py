import pytest

from search_space.errors import InputError
from search_space.mixers import MIXERS
from search_space.parts.base import Dims
from search_space.parts.build import build_mixer, options_of
from search_space.parts.part import Part

SMALL = Dims(width=32, heads=2)
SIZES = {"heads": 2, "key_size": 8, "value_size": 12, "conv": 3}


WITHOUT_HEADS = {
    "mamba3",
    "mamba3_mimo",
    "megalodon",
    "sse",
    "rat",
    "rodimus",
    "mla",
    "rwkv6",
    "rwkv7",
    "base_conv",
    "hgrn",
    "rg_lru",
    "mamba",
    "short_conv",
    "hyena_se",
    "hyena_mr",
    "hyena_li",
    "parallel",
    "shared_attention",  # no convolution
    "shared_window",
    "gold",
    "shared_gold",
}


@pytest.mark.parametrize("name", [n for n in MIXERS.names() if n not in WITHOUT_HEADS])
def test_the_same_options_mean_the_same_everywhere(name):
    mixer = build_mixer(Part(name, SIZES), SMALL)
    assert (mixer.heads, mixer.key_size, mixer.value_size, mixer.conv.width) == (2, 8, 12, 3)
    assert mixer.output.in_features == 24


def test_options_of_a_mixer_that_extends_another():
    names = options_of(MIXERS.get("sliding_window"))
    assert {"window", "heads", "kv_heads", "rope_theta", "conv"} <= set(names)
    assert set(options_of(MIXERS.get("attention"))) == set(names) - {"window"}


BAD = {
    "no-such-mixer": ("gated_deltnet", {}, "blocks.a", "did you mean 'gated_deltanet'"),
    "not-a-mixer": ("search_space.parts.base:Dims", {}, "blocks.a", "subclass"),
    "misspelt-option": ("gla", {"key_sizes": 8}, "blocks.a.key_sizes", "did you mean 'key_size'"),
    "option-of-another-mixer": ("attention", {"window": 8}, "blocks.a.window", "option of attention"),
    "misspelt-inherited-option": ("sliding_window", {"kvheads": 8}, "blocks.a.kvheads", "'kv_heads'"),
    "one-partition": ("sse", {"partitions": 1}, "blocks.a.partitions", "2 at least"),
    "no-buffer": ("lte", {"buffer": 0}, "blocks.a.buffer", "positive integer"),
    "negative-penalty": ("lte", {"penalty": -1}, "blocks.a.penalty", "zero or more"),
    "no-steps": ("mesa", {"steps": 0}, "blocks.a.steps", "positive integer"),
    "no-sinks": ("lizard", {"sinks": 0}, "blocks.a.sinks", "positive integer"),
    "window-by-relu": ("lolcats", {"activation": "relu"}, "blocks.a.activation", "softmax"),
    "gate-that-is-none": ("gla", {"gate": "coarse"}, "blocks.a.gate", "one of plain, refined"),
    "keys-that-do-not-divide": (
        "gated_deltanet",
        {"heads": 4, "heads_per_key": 3},
        "blocks.a.heads_per_key",
        "divisor of heads=4",
    ),
    "no-heads": ("deltanet", {"heads": 0}, "blocks.a.heads", "positive integer"),
    "heads-in-words": ("gla", {"heads": "two"}, "blocks.a.heads", "positive integer"),
    "fractional-size": ("gla", {"key_size": 0.5}, "blocks.a.key_size", "positive integer"),
    "true-size": ("hgrn", {"state_size": True}, "blocks.a.state_size", "positive integer"),
    "heads-that-do-not-divide": ("hgrn2", {"heads": 5}, "blocks.a.heads", "divisor of 32"),
    "more-heads-than-elements": ("retnet", {"heads": 64}, "blocks.a.heads", "divisor of 32"),
    "odd-rotary-size": ("retnet", {"key_size": 3}, "blocks.a.key_size", "even"),
    "odd-rotary-size-of-attention": ("attention", {"key_size": 3}, "blocks.a.key_size", "even"),
    "key-value-heads-that-do-not-divide": ("attention", {"kv_heads": 3}, "blocks.a.kv_heads", "heads=2"),
    "no-key-value-heads": ("gated_attention", {"kv_heads": 0}, "blocks.a.kv_heads", "positive integer"),
    "empty-window": ("sliding_window", {"window": 0}, "blocks.a.window", "positive integer"),
    "negative-convolution": ("gated_deltanet", {"conv": -1}, "blocks.a.conv", "0 or more"),
    "convolution-of-the-token-alone": ("short_conv", {"conv": 1}, "blocks.a.conv", "2 at least"),
    "filter-of-the-token-alone": ("hyena_mr", {"length": 1}, "blocks.a.length", "2 taps at least"),
    "unknown-activation": ("attention", {"activation": "tanh"}, "blocks.a.activation", "one of relu, sigmoid"),
    "heads-that-do-not-divide-the-width": ("gold", {"heads": 3}, "blocks.a.heads", "divisor of 32"),
    "norms-in-words": ("sliding_window", {"qk_norm": "yes"}, "blocks.a.qk_norm", "true or false"),
    "unknown-gate": ("gated_attention", {"gate": "token"}, "blocks.a.gate", "one of element, head"),
    "odd-shared-key": ("mla", {"rope_size": 3}, "blocks.a.rope_size", "even"),
    "unknown-map": ("linear_attention", {"feature_map": "exp"}, "blocks.a.feature_map", "one of cosine"),
    "stride-of-one": ("strided_attention", {"stride": 1}, "blocks.a.stride", "2 at least"),
    "strided-relu": ("strided_attention", {"activation": "relu"}, "blocks.a.activation", "softmax"),
    "unequal-sizes": ("rat", {"value_size": 4}, "blocks.a.value_size", "key_size=32"),
    "unknown-slopes": ("lightning", {"slopes": "alibi"}, "blocks.a.slopes", "one of minimax, tnl"),
    "groups-that-do-not-divide": ("mamba2", {"heads": 4, "n_groups": 3}, "blocks.a.n_groups", "heads=4"),
    "no-branches": ("parallel", {"branches": []}, "blocks.a.branches", "two or more"),
    "unknown-branch": ("parallel", {"branches": ["gla", "glaa"]}, "blocks.a.branches[1]", "did you mean 'gla'"),
    "unknown-combination": (
        "parallel",
        {"branches": ["gla", "hgrn"], "combine": "max"},
        "blocks.a.combine",
        "one of mean, sum",
    ),
    "wavelength-in-words": ("attention", {"rope_theta": "1e4"}, "blocks.a.rope_theta", "number"),
    "negative-wavelength": ("retnet", {"rope_theta": -1}, "blocks.a.rope_theta", "number"),
}


@pytest.mark.parametrize(("name", "options", "key", "expected"), BAD.values(), ids=BAD.keys())
def test_a_wrong_option_is_named(name, options, key, expected):
    with pytest.raises(InputError) as raised:
        build_mixer(Part(name, options), SMALL, key="blocks.a")
    assert raised.value.key == key
    assert expected in raised.value.expected


@pytest.mark.parametrize(
    ("dims", "options", "heads"),
    [
        (Dims(width=32, heads=4), {}, (4, 4)),
        (Dims(width=32, heads=4, kv_heads=2), {}, (4, 2)),
        (Dims(width=32, heads=4, kv_heads=2), {"kv_heads": 1}, (4, 1)),
        (Dims(width=32, heads=4, kv_heads=4), {"heads": 2}, (2, 2)),
    ],
    ids=["of-the-model", "grouped-in-the-model", "grouped-here", "other-heads-here"],
)
def test_attention_takes_its_heads_from_the_model_unless_told(dims, options, heads):
    mixer = build_mixer(Part("attention", options), dims)
    assert (mixer.heads, mixer.kv_heads) == heads
