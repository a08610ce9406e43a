"""Linear attention with each feature map against sums over all earlier tokens, in float64."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from search_space.errors import InputError
from search_space.parts.base import Dims
from search_space.parts.build import build_mixer
from search_space.parts.feature_maps import FEATURE_MAPS
from search_space.parts.part import Part
from tests.kernels.test_second_oracle import naive
from tests.mixers.test_costs import cost
from tests.mixers.test_costs_hybrids import WIDTHS
from tests.mixers.test_definitions import CLOSE, SIZES, D, H, K, T, V, build, convolved, heads, projected, turned


def unit(x):
    return x / (x.square().sum(-1, keepdim=True) + 1e-6).sqrt()


def by_head(maps, x, kind):
    return torch.stack([x[..., h, :] @ maps.weight[kind, h] for h in range(H)], -2)


def largest(x):
    return torch.exp(x - x.max(-1, keepdim=True).values)


def taylor(phi, x, kind):
    """With all products, each twice: the same similarity."""
    products = (x[..., :, None] * x[..., None, :]).flatten(-2)
    return torch.cat([torch.ones_like(x[..., :1]), x / K**0.25, products / (2 * K) ** 0.5], -1)


def hedgehog(phi, x, kind):
    x = by_head(phi.maps, x, kind)
    e = torch.exp(torch.cat([2 * x, -2 * x], -1))
    return e / e.sum(-1, keepdim=True)


def dijiang(phi, x, kind):
    # y_n = sum_k x_k cos(pi n (k + 1/2) / K), orthonormal
    rows = [[math.cos(math.pi * n * (k + 0.5) / K) * (2 / K) ** 0.5 for k in range(K)] for n in range(K)]
    rows[0] = [K**-0.5] * K
    quantiles = torch.distributions.Normal(0.0, 1.0).icdf((torch.arange(K).double() + 0.5) / K)
    return heads(phi.log_weight.exp()) * largest(x @ torch.tensor(rows).double().T * quantiles)


def fourier(phi, x, kind):
    angles = torch.stack([unit(x)[..., h, :] @ phi.directions[h] for h in range(H)], -2)
    return torch.cat([angles.sin(), angles.cos()], -1) / K**0.5


def norm_aware(phi, x, kind):
    parts = torch.cat([x.clamp(min=0), (-x).clamp(min=0)], -1)
    if kind:
        return parts**3
    length = (x.square().sum(-1, keepdim=True) + 1e-12).sqrt()
    return (parts / length) ** (3 * (0.5 + length.tanh()))


MAPS = {
    "elu": lambda phi, x, kind: torch.where(x > 0, x + 1, x.exp()),
    "relu": lambda phi, x, kind: x.clamp(min=0),
    "silu": lambda phi, x, kind: x / (1 + (-x).exp()),
    "cosine": lambda phi, x, kind: unit(x),
    "taylor": taylor,
    "hedgehog": hedgehog,
    "log_normal": lambda phi, x, kind: largest(x * phi.slopes[kind * H : (kind + 1) * H, None]),
    "dijiang": dijiang,
    "mlp": lambda phi, x, kind: torch.log1p(by_head(phi.second, by_head(phi.first, x, kind).clamp(min=0), kind).exp()),
    "regla": lambda phi, x, kind: (math.e * (K * (math.e**2 - 1)) ** 0.5) ** -0.5 * largest(by_head(phi.maps, x, kind)),
    "fourier": fourier,
    "norm_aware": norm_aware,
}
NORMED = {"silu", "cosine", "regla", "fourier"}


def test_each_map_is_tested():
    assert MAPS.keys() == FEATURE_MAPS.keys()


@pytest.mark.parametrize("conv", [0, 4])
@pytest.mark.parametrize("name", MAPS)
def test_equation(name, conv):
    mixer, x = build("linear_attention", {**SIZES, "feature_map": name, "conv": conv})
    compare(mixer, x, name, conv)


@pytest.mark.parametrize("name", ["silu", "elu"])
def test_gate(name):
    mixer, x = build("linear_attention", {**SIZES, "feature_map": name, "gate": True})
    compare(mixer, x, name)
    found, plain = (cost("linear_attention", 1024, feature_map=name, gate=gate) for gate in (True, False))
    assert found.product_flops - plain.product_flops == 2 * 2 * 64 * 1024
    assert found.parameters - plain.parameters == 2 * 64 * 1024


def compare(mixer, x, name, conv=0, theta=None):
    qkv, gate = (x @ mixer.input.weight.T).tensor_split([H * (2 * K + V)], -1)
    qkv = F.silu(convolved(mixer, qkv)) if conv else qkv
    q, k, v = map(heads, qkv.split([H * K, H * K, H * V], -1))
    q, k = (MAPS[name](mixer.map, y, kind) for kind, y in enumerate((q, k)))
    if theta:
        q, k = turned(q, theta), turned(k, theta)
    weights = torch.einsum("bthf,bshf->bhts", q, k).tril()
    o = torch.einsum("bhts,bshv->bthv", weights, v)
    if name in NORMED:
        o = o / (o.square().mean(-1, keepdim=True) + 1e-5).sqrt() * mixer.norm.weight
    else:
        o = o / (weights.sum(-1) + 1e-6).mT[..., None]
    o = o.flatten(-2)
    if mixer.gate is not None:
        o = o * torch.sigmoid(gate @ mixer.gate.weight.T)
    assert_close(mixer(x)[0], o @ mixer.output.weight.T, **CLOSE)


def test_features_turn():
    mixer, x = build("linear_attention", {**SIZES, "feature_map": "silu", "rope_theta": 100.0})
    compare(mixer, x, "silu", theta=100.0)
    with pytest.raises(InputError, match="null with the feature map elu"):
        build_mixer(Part("linear_attention", {"rope_theta": 100.0}), Dims(width=D, heads=2))


def test_based():
    mixer, x = build("based", SIZES)
    assert mixer.map.features == (K + 1) * (K + 2) // 2
    compare(mixer, x, "taylor")
    q, k, v = (heads(y).transpose(1, 2) for y in projected(mixer, x, H * K, H * K, H * V))
    o = naive("based").naive_parallel_based(q, k, v).transpose(1, 2)
    assert_close(mixer(x)[0], o.flatten(-2) @ mixer.output.weight.T, **CLOSE)


def test_fourier_features_are_about_the_exponential():
    phi = FEATURE_MAPS["fourier"].build(1, 64)
    torch.manual_seed(0)
    phi.directions = torch.randn(1, 64, 20_000)
    q, k = torch.randn(2, 5, 1, 64).unbind(0)
    similar = (phi(q, False) * phi(k, True)).sum(-1) * phi.features / 2 / 20_000
    assert_close(similar, torch.exp((unit(q) * unit(k)).sum(-1) - 1), atol=0.02, rtol=0)


@pytest.mark.parametrize("conv", [2, 3])
def test_base_conv(conv):
    mixer, x = build("base_conv", {"conv": conv})
    a, b = projected(mixer, x, 2 * D, 2 * D)
    assert_close(mixer(x)[0], (F.silu(convolved(mixer, a)) * b) @ mixer.output.weight.T, **CLOSE)
    assert conv < T


@WIDTHS
def test_costs(d):
    based, conv, hedgehog = cost("based", d), cost("base_conv", d), cost("linear_attention", d, feature_map="hedgehog")
    h = d // 64
    assert based.parameters == 2 * d**2 + 2 * 16 * h * d == based.product_flops / 2 == 2.5 * d**2
    assert (based.state_elements, based.conv_elements, based.caches) == (153 * 65 * h, 0, ())
    assert conv.product_flops == 2 * 6 * d**2 and conv.parameters == 6 * d**2 + 6 * d
    assert (conv.state_elements, conv.conv_elements, conv.decode_flops) == (0, 4 * d, 14 * d)
    assert hedgehog.product_flops == 2 * (4 * d**2 + 2 * 64 * d)
    assert hedgehog.parameters == 4 * d**2 + 2 * 64 * d
    assert hedgehog.state_elements == 2 * 64 * 65 * h
