import pytest

from search_space.channel_mixers import CHANNEL_MIXERS
from search_space.mixers import MIXERS
from search_space.parts.build import build_channel_mixer, build_mixer
from search_space.parts.part import Part
from search_space.testing import ChannelMixerContract, MixerContract, Tower

SMALL = {"heads": 2, "key_size": 8}
GROUPED = {"heads": 4, "kv_heads": 2, "value_size": 4}
CASES = {
    **{name: Part(name) for name in MIXERS.names() if not name.startswith("shared_")},
    "lolcats": Part("lolcats", {"window": 16}),  # the default sees all tokens of the suite
    "sparsek": Part("sparsek", {"window": 8, "selected": 4}),  # likewise
    "attention-grouped": Part("attention", {"heads": 4, "kv_heads": 2, "value_size": 4, "conv": 3}),
    "attention-without-positions": Part("attention", {"rope_theta": None}),
    "attention-with-norms": Part("attention", {"heads": 4, "kv_heads": 2, "qk_norm": True}),
    "attention-by-relu": Part("attention", {"heads": 4, "kv_heads": 2, "activation": "relu", "rope_theta": None}),
    "attention-by-softplus": Part("attention", {"activation": "softplus", "conv": 3}),
    "sliding_window-by-sigmoid": Part("sliding_window", {"window": 8, "activation": "sigmoid"}),
    "gated_attention-by-element": Part("gated_attention", {**SMALL, "gate": "element", "qk_norm": True}),
    "mla-small": Part("mla", {"heads": 3, "key_size": 6, "value_size": 4, "rope_size": 2, "rank": 5}),
    "mla-without-positions": Part("mla", {"rope_theta": None}),
    "jet_block-small": Part("jet_block", {**SMALL, "value_size": 12, "conv": 3}),
    "jet_block-without-convolution": Part("jet_block", {"conv": 0}),
    "gated_attention-small": Part("gated_attention", {**SMALL, "conv": 4}),
    "sliding_window-of-16": Part("sliding_window", {**SMALL, "window": 16}),
    "sliding_window-of-1": Part("sliding_window", {"window": 1}),
    "retnet-small": Part("retnet", {**SMALL, "conv": 4}),
    "lightning-small": Part("lightning", {**SMALL, "conv": 4}),
    "lightning-with-linear-slopes": Part("lightning", {"heads": 4, "slopes": "tnl"}),
    "gla-small": Part("gla", {**SMALL, "conv": 4}),
    "hgrn-small": Part("hgrn", {"state_size": 24, "conv": 4}),
    "hgrn2-small": Part("hgrn2", {**SMALL, "conv": 4}),
    "deltanet-small": Part("deltanet", {**SMALL, "conv": 2}),
    "deltanet-without-convolution": Part("deltanet", {**SMALL, "conv": 0}),
    "gated_deltanet-small": Part("gated_deltanet", {**SMALL, "value_size": 12, "conv": 1}),
    "short_conv-of-2": Part("short_conv", {"conv": 2}),
    "short_conv-of-7": Part("short_conv", {"conv": 7}),
    # The other maps are functions of each element, or that of `based`.
    **{
        f"linear_attention-{name}": Part("linear_attention", {"feature_map": name, **SMALL})
        for name in ("hedgehog", "log_normal", "dijiang", "mlp", "regla", "fourier", "norm_aware")
    },
    "linear_attention-that-turns": Part("linear_attention", {"feature_map": "silu", "rope_theta": 100.0, "conv": 4}),
    "based-small": Part("based", {"heads": 3, "key_size": 3, "value_size": 4, "conv": 3}),
    "base_conv-of-2": Part("base_conv", {"conv": 2}),
    "rodimus-small": Part("rodimus", {"channels": 12, "key_size": 5, "rank": 3, "conv": 0}),
    "strided_attention-of-3": Part("strided_attention", {"heads": 4, "kv_heads": 2, "stride": 3, "conv": 2}),
    "xlstm-small": Part("xlstm", {**SMALL, "conv": 4}),
    "mesa-small": Part("mesa", {**SMALL, "value_size": 12, "conv": 0, "steps": 12}),
    "sse-small": Part("sse", {**SMALL, "value_size": 12, "partitions": 3, "balance": 0.0}),
    "lte-of-9": Part("lte", {"heads": 4, "kv_heads": 2, "window": 9, "buffer": 3, "sinks": 2, "conv": 2}),
    "lte-of-2": Part("lte", {"heads": 4, "kv_heads": 2, "window": 2, "buffer": 5, "sinks": 1, "qk_norm": True}),
    "lolcats-of-5": Part("lolcats", {"heads": 4, "kv_heads": 2, "window": 5, "feature_size": 3, "conv": 2}),
    "lizard-of-5": Part("lizard", {"heads": 4, "kv_heads": 2, "window": 5, "sinks": 1, "rope_theta": 100.0}),
    "megalodon-of-8": Part("megalodon", {"heads": 2, "key_size": 3, "value_size": 5, "modes": 3, "chunk": 8}),
    "hla2-small": Part("hla2", {**SMALL, "value_size": 12, "conv": 4}),
    "linear_attention-gated": Part("linear_attention", {**SMALL, "feature_map": "silu", "gate": True}),
    "gla-normalised": Part("gla", {**SMALL, "conv": 4, "normalised": True}),
    "gla-refined": Part("gla", {**SMALL, "gate": "refined"}),
    "gated_deltanet-shared-keys": Part(
        "gated_deltanet", {"heads": 4, "key_size": 6, "value_size": 5, "heads_per_key": 2}
    ),
    "lla-grouped": Part("lla", {"heads": 4, "kv_heads": 2, "conv": 2, "steps": 9}),
    "sparsek-grouped": Part("sparsek", {"heads": 4, "kv_heads": 2, "window": 2, "selected": 3, "conv": 2}),
    "nsa-of-4": Part("nsa", {"heads": 4, "kv_heads": 2, "block": 4, "selected": 16, "window": 6, "conv": 2}),
    "rat-of-4": Part("rat", {"heads": 4, "chunk": 4}),
    "rat-without-positions": Part("rat", {"heads": 3, "key_size": 4, "value_size": 4, "chunk": 5, "rope_theta": None}),
    "kda-that-turns": Part("kda", {**SMALL, "negative_eigenvalues": True}),
    "kda-bounded": Part("kda", {**SMALL, "bounded": True}),
    "deltanet-that-turns": Part("deltanet", {**SMALL, "negative_eigenvalues": True}),
    "chela-small": Part("chela", {**SMALL, "value_size": 12, "modes": 3, "conv": 0}),
    "lightnet-small": Part("lightnet", {**SMALL, "value_size": 12, "conv": 3}),
    "gdn2-small": Part("gdn2", {**SMALL, "value_size": 12, "conv": 0}),
    "rwkv6-small": Part("rwkv6", {**SMALL, "value_size": 12, "shift_rank": 2, "decay_rank": 3}),
    "rwkv7-small": Part("rwkv7", {**SMALL, "value_size": 12, "gate_rank": 2, "decay_rank": 3}),
    "hyena_se-of-2": Part("hyena_se", {"length": 2, "conv": 0}),
    "hyena_mr-short": Part("hyena_mr", {"length": 5, "conv": 4}),
    "hyena_li-small": Part("hyena_li", {"key_size": 3, "conv": 0}),
    "mamba-small": Part("mamba", {"channels": 12, "key_size": 3, "rank": 5, "conv": 0}),
    "mamba2-small": Part("mamba2", {"heads": 4, "key_size": 6, "value_size": 5, "n_groups": 2}),
    "log_linear_mamba2-small": Part("log_linear_mamba2", {"heads": 4, "key_size": 6, "value_size": 5, "levels": 3}),
    "log_linear_gdn-small": Part("log_linear_gdn", {**SMALL, "levels": 3, "conv": 0}),
    "mamba3-small": Part("mamba3", {"heads": 4, "key_size": 6, "value_size": 5, "n_groups": 2}),
    "mamba3_mimo-small": Part(
        "mamba3_mimo", {"heads": 4, "key_size": 6, "value_size": 5, "n_groups": 2, "mimo_rank": 3}
    ),
    "mamba3-of-one-key": Part("mamba3", {"heads": 2, "key_size": 1, "value_size": 8}),
    "mamba2-without-convolution": Part("mamba2", {"heads": 4, "key_size": 8, "value_size": 4, "conv": 0}),
    "kda-small": Part("kda", {**SMALL, "value_size": 12, "conv": 0}),
    "rg_lru-small": Part("rg_lru", {"state_size": 24, "block_size": 6, "conv": 0}),
    "attention-beside-gla": Part("parallel", {"branches": ["attention", "gla"]}),
    "attention-of-embeddings": Part("attention", {**GROUPED, "keys_from": "embedding", "conv": 3}),
    "gated_attention-of-embeddings": Part("gated_attention", {"keys_from": "embedding", "qk_norm": True}),
    "sliding_window-of-embeddings": Part("sliding_window", {"window": 4, "keys_from": "embedding"}),
    "three-side-by-side": Part(
        "parallel",
        {"branches": ["hgrn", {"mixer": "sliding_window", "window": 4}, "deltanet"], "combine": "sum", "norm": False},
    ),
}


WINDOW = {**GROUPED, "window": 5}
TOWERS = {
    "shared_attention": [Part("attention"), Part("shared_attention")],
    "shared_window": [Part("sliding_window"), Part("shared_window")],
    "shared_attention-grouped": [
        Part("gated_attention", {**GROUPED, "qk_norm": True, "conv": 3}),
        Part("shared_attention", {**GROUPED, "qk_norm": True}),
        Part("shared_attention", GROUPED),
    ],
    "shared_attention-without-positions": [
        Part("attention", {"rope_theta": None, "keys_from": "embedding"}),
        Part("shared_attention", {"rope_theta": None}),
    ],
    "shared_gold": [Part("gold"), Part("shared_gold")],
    "shared_gold-small": [
        Part("gold", {"heads": 4, "rank": 3, "shift_rank": 2, "expansion_rank": 5}),
        Part("gla"),
        Part("shared_gold", {"shift_rank": 3}),
        Part("shared_gold", {"heads": 1, "expansion_rank": 4}),
    ],
    "shared_window-of-5": [Part("sliding_window", WINDOW), Part("shared_window", WINDOW)],
    "shared_window-of-1": [Part("sliding_window", {"window": 1}), Part("shared_window", {"window": 1})],
    "shared_window-in-branches": [
        Part("parallel", {"branches": [{"mixer": "sliding_window", **WINDOW}, "gla"]}),
        Part("parallel", {"branches": [{"mixer": "sliding_window", **WINDOW}, {"mixer": "shared_window", **WINDOW}]}),
        Part("parallel", {"branches": ["hgrn", {"mixer": "shared_window", **WINDOW}]}),
    ],
}


STACKS = {**{name: [part] for name, part in CASES.items()}, **TOWERS}


def tower(parts, dims):
    mixers = [build_mixer(part, dims) for part in parts]
    return Tower(mixers) if any(mixer.takes_below for mixer in mixers) else mixers[0]


class TestBuiltIn(MixerContract):
    @pytest.fixture(params=STACKS.values(), ids=STACKS)
    def build(self, request):
        return lambda dims: tower(request.param, dims)


CHANNEL_CASES = [
    *map(Part, CHANNEL_MIXERS.names()),
    Part("swiglu", {"ratio": 2.75}),
    Part("hash_tables", {"bits": 4, "growth": 1}),
    Part("moe", {"experts": 6, "top_k": 2, "ratio": 0.5, "shared": 0.25, "shared_gate": True, "normalise": False}),
    Part("moe", {"experts": 5, "top_k": 1, "ratio": 1.0, "shared": 0.5, "router": "sigmoid", "activation": "relu2"}),
]


class TestBuiltInChannelMixers(ChannelMixerContract):
    @pytest.fixture(params=CHANNEL_CASES, ids=str)
    def build(self, request):
        return lambda dims: build_channel_mixer(request.param, dims)
