"""Costs at the papers' sizes, against sizes and counts published elsewhere."""

import pytest
import torch

from search_space.mixers import MIXERS
from search_space.parts.base import Cache, Dims
from search_space.parts.build import build_mixer
from search_space.parts.matrix_state import CHUNK
from search_space.parts.part import Part

# With d the width: projection matrices, small matrices of gates, state, decode FLOPs an element of it.
TABLE = {
    "retnet": (lambda d: 8 * d * d, lambda d: 0, lambda d: d * d // 4, 5),
    "gla": (lambda d: 4 * d * d, lambda d: 16 * (d + d // 2), lambda d: d * d // 8, 5),
    "hgrn": (lambda d: 4 * d * d, lambda d: 0, lambda d: d, 5),
    "hgrn2": (lambda d: 4 * d * d, lambda d: 0, lambda d: 128 * d, 5),
    "deltanet": (lambda d: 4 * d * d, lambda d: d * d // 128, lambda d: 128 * d, 6),
    "gated_deltanet": (lambda d: 5 * d * d, lambda d: 2 * d * d // 256, lambda d: 256 * d, 7),
}


def cost(name, width, kv_heads=None, **options):
    with torch.device("meta"):
        return build_mixer(Part(name, options), Dims(width=width, heads=width // 64, kv_heads=kv_heads)).cost()


@pytest.mark.parametrize("width", [1024, 2048])
@pytest.mark.parametrize("name", TABLE)
def test_recurrent_mixers_have_the_published_sizes(name, width):
    projections, gates, state, flops = TABLE[name]
    found = cost(name, width)
    assert found.product_flops == 2 * (projections(width) + gates(width))
    assert found.state_elements == state(width)
    assert found.decode_flops == flops * state(width)
    assert not found.caches


@pytest.mark.parametrize("kv_heads", [None, 8, 1])
@pytest.mark.parametrize("name", ["attention", "gated_attention", "sliding_window"])
def test_attention_has_the_published_sizes(name, kv_heads):
    width, heads, size = 2048, 32, 64
    share = (kv_heads or heads) / heads
    found = cost(name, width, kv_heads)
    gates = width * heads if name == "gated_attention" else 0
    assert found.product_flops == 2 * (2 * width**2 * (1 + share) + gates)
    window = 2048 if name == "sliding_window" else None
    kept = kv_heads or heads
    assert found.caches == (Cache(elements=2 * kept * size, flops=4 * heads * size, window=window, heads=kept),)
    assert (found.state_elements, found.conv_elements, found.decode_flops) == (0, 0, 0)


def test_a_sum_of_weights_is_one_more_column():
    d, k = 2048, 256
    plain, found = cost("gla", d), cost("gla", d, normalised=True)
    assert found.parameters - plain.parameters == 2 * 4 * k * k // 2
    assert found.product_flops - plain.product_flops == 2 * 2 * 4 * k * k // 2
    assert found.state_elements - plain.state_elements == 4 * k


def test_prefill_of_linear_attention_and_of_the_delta_rule():
    heads, key, value = 8, 256, 256
    linear = 4 * heads * key * value + CHUNK * heads * (key + value)
    sizes = {"heads": heads, "key_size": key, "value_size": value}
    assert cost("gla", 2048, **sizes).prefill_flops == linear
    more = 2 * heads * key * value + 2 * CHUNK * heads * (2 * key + value) + CHUNK**2 * heads / 3
    assert cost("gated_deltanet", 2048, **sizes).prefill_flops == pytest.approx(linear + more)


BIASED = {"mamba", "mamba2", "log_linear_mamba2", "rg_lru", "rodimus"}  # mixers whose convolution has a bias


OTHER_CONVOLUTIONS = {
    "mamba3",
    "mamba3_mimo",
    "rat",
    "sse",
    "lte",
    "megalodon",
    "parallel",
    "short_conv",
    "base_conv",
    "rwkv6",
    "rwkv7",
    "mla",
    "jet_block",
    "hyena_se",
    "hyena_mr",
    "shared_attention",  # none
    "shared_window",
    "gold",
    "shared_gold",
}


@pytest.mark.parametrize("name", [n for n in MIXERS.names() if n not in OTHER_CONVOLUTIONS])
def test_a_short_convolution_is_cached(name):
    plain, convolved = (cost(name, 256, conv=width) for width in (0, 4))
    weights = 4 * (convolved.conv_elements // 3)
    biases = weights // 4 if name in BIASED else 0
    assert convolved.parameters == plain.parameters + weights + biases
    assert plain.conv_elements == 0
    assert convolved.conv_elements > 0
    assert convolved.product_flops == plain.product_flops


def whole_model(width, layers, hidden, vocabulary, mixer):
    """Parameters of a pre-norm model with SwiGLU and separate embedding and head."""
    norms, mlp = 2 * width, 3 * width * hidden
    return layers * (mixer + mlp + norms) + 2 * vocabulary * width + width


def test_gated_deltanet_has_as_many_parameters_as_a_released_model():
    # puigde/gated-deltanet-380M-15B-slimpajama: 357,781,928 parameters by its model card (width 1024, 21
    # layers, 4 heads of 256 x 256, vocabulary 32,000), trained with flash-linear-attention, whose SwiGLU is
    # 2816 wide at this width.
    assert whole_model(1024, 21, 2816, 32_000, cost("gated_deltanet", 1024).parameters) == 357_781_928


def test_gated_deltanet_at_the_sizes_of_the_study():
    # Systematic Analysis of Hybrid Linear Attention (2507.06457), 1.3B: 24 layers, 8 heads of 256 x 256.
    width, layers, hidden, vocabulary = 2048, 24, 5632, 32_000
    found = cost("gated_deltanet", width)
    assert whole_model(width, layers, hidden, vocabulary, found.parameters) == 1_466_343_808
    projections = found.product_flops / 2 - 2 * 8 * width
    matrices = layers * (projections + 3 * width * hidden) + 2 * vocabulary * width
    assert round(matrices / 1e6, 1) == 1464.9


CACHES = [
    Cache(elements=3, flops=1.0),
    Cache(elements=3, flops=1.0, window=5),
    Cache(elements=3, flops=1.0, every=4),
    Cache(elements=3, flops=1.0, window=9, every=2),
    Cache(elements=3, flops=1.0, reads=3),
    Cache(elements=3, flops=1.0, every=3, reads=2),
    Cache(elements=3, flops=1.0, levels=True),
]


@pytest.mark.parametrize("cache", CACHES, ids=str)
def test_a_prompt_reads_what_the_steps_of_its_tokens_read(cache):
    for tokens in (0, 1, 2, 3, 7, 8, 30):
        assert cache.attended(tokens) == sum(cache.read(t) for t in range(1, tokens + 1))


def test_what_each_kind_of_cache_keeps_and_reads():
    assert [(c.kept(30), c.read(30)) for c in CACHES] == [(30, 30), (5, 5), (7, 7), (4, 4), (30, 3), (10, 2), (5, 5)]
