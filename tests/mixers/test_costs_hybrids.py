"""Costs of the mixers of released hybrids, from the sizes of their papers; d is the width."""

import pytest

from search_space.parts.matrix_state import CHUNK
from tests.mixers.test_costs import cost

WIDTHS = pytest.mark.parametrize("d", [1024, 2048])


@WIDTHS
def test_lightning(d):
    found = cost("lightning", d)
    assert found.product_flops == 2 * 5 * d**2
    assert found.parameters == 5 * d**2 + d  # one norm over all heads
    assert (found.state_elements, found.conv_elements) == (128 * d, 0)
    assert found.decode_flops == 5 * 128 * d
    assert found.prefill_flops == (4 * 128 + 2 * CHUNK) * d == 640 * d


@WIDTHS
def test_mamba2(d):
    found = cost("mamba2", d)
    products = 6 * d**2 + 256 * d + d**2 // 32
    assert found.product_flops == 2 * products
    convolution, norm, by_head = 5 * (2 * d + 256), 2 * d, 3 * d // 32
    assert found.parameters == products + convolution + norm + by_head
    assert (found.state_elements, found.conv_elements) == (256 * d, 3 * (2 * d + 256))
    assert found.decode_flops == 5 * 256 * d + 4 * d
    assert found.prefill_flops == 1408 * d + 4 * d


def test_groups_of_mamba2_have_keys_and_queries_of_their_own():
    one, eight = cost("mamba2", 2048), cost("mamba2", 2048, n_groups=8)
    more = 7 * 2 * 128
    assert eight.product_flops - one.product_flops == 2 * more * 2048
    assert eight.parameters - one.parameters == more * 2048 + 5 * more
    assert eight.state_elements == one.state_elements


@WIDTHS
def test_short_conv(d):
    found = cost("short_conv", d)
    assert found.product_flops == 2 * 4 * d**2
    assert found.parameters == 4 * d**2 + 3 * d
    assert (found.state_elements, found.conv_elements) == (0, 2 * d)
    assert found.decode_flops == found.prefill_flops == 2 * 3 * d + 2 * d
    assert cost("short_conv", d, conv=7).conv_elements == 6 * d


@WIDTHS
def test_mamba(d):
    found = cost("mamba", d)
    products = 4 * d**2 + 2 * d * (d // 16 + 32) + 2 * d * d // 16 + 2 * d**2
    assert products == 6.25 * d**2 + 64 * d
    assert found.product_flops == 2 * products  # the decays are no matrix product
    assert found.parameters == products + 10 * d + 34 * d + 2 * d
    assert (found.state_elements, found.conv_elements) == (32 * d, 6 * d)
    assert found.decode_flops == found.prefill_flops == 9 * 32 * d + 4 * d


@WIDTHS
def test_kda(d):
    found = cost("kda", d)
    products = 4 * d**2 + 4 * 128 * d + d**2 // 128
    assert found.product_flops == 2 * products
    assert found.parameters == products + 12 * d + 128 + d + d // 128  # convolution, norm, biases and rates of decay
    assert (found.state_elements, found.conv_elements) == (128 * d, 9 * d)
    assert found.decode_flops == 7 * 128 * d
    within = 2 * CHUNK * 3 * d + CHUNK**2 * (d // 128) / 3
    assert found.prefill_flops == pytest.approx(6 * 128 * d + 2 * CHUNK * d + within)
    assert found.prefill_flops == pytest.approx(1290 * d, rel=2e-3)


@pytest.mark.parametrize(("d", "heads"), [(2560, 10), (4096, 16)])
def test_rg_lru(d, heads):
    """RecurrentGemma 2B and 9B."""
    found = cost("rg_lru", d)
    products = 3 * d**2 + 2 * d**2 // heads  # those of the gates are blocks, 3-D
    assert found.product_flops == 2 * products
    assert found.parameters == products + 5 * d + 2 * d + 3 * d + d  # convolution; biases of gates, ends; rates
    assert (found.state_elements, found.conv_elements) == (d, 3 * d)
    assert found.decode_flops == found.prefill_flops == 12 * d


@WIDTHS
def test_mamba3(d):
    found, h = cost("mamba3", d), d // 32
    products = d * (4 * d + 2 * 128 + 3 * h + 32) + 2 * d**2
    assert found.product_flops == 2 * products
    assert found.parameters == products + 2 * 128 + 2 * 128 * h + 2 * h  # norms, biases, D and those of steps
    assert (found.state_elements, found.conv_elements) == (256 * d + 32 * h, (128 + 64) * h)
    assert found.decode_flops == 7 * 256 * d + 4 * d
    assert found.prefill_flops == 4 * 256 * d + (CHUNK + 2) * 192 * h + 4 * d


@WIDTHS
def test_mamba3_mimo(d):
    found, h, rank = cost("mamba3_mimo", d), d // 32, 4
    products = d * (4 * d + 2 * 128 * rank + 3 * h + 32) + 2 * d**2
    assert found.product_flops == 2 * products
    assert found.parameters == products + 2 * 128 + 2 * 128 * rank * h + 2 * h + 3 * rank * 2 * d
    assert (found.state_elements, found.conv_elements) == (256 * d + 32 * h, (rank * 128 + 64) * h)
    assert found.decode_flops == (1 + 6 * rank) * 256 * d + 5 * rank * 2 * d
    assert found.prefill_flops == 4 * rank * 256 * d + (CHUNK + 2 * rank) * rank * 192 * h + 5 * rank * 2 * d
