"""LoLCATs and Lizard against sums over all earlier tokens, in float64, and costs."""

import pytest
import torch
from torch.testing import assert_close

from search_space.parts.base import Cache, Dims
from search_space.parts.build import build_mixer
from search_space.parts.matrix_state import CHUNK
from tests.mixers.test_costs import cost
from tests.mixers.test_costs_hybrids import WIDTHS
from tests.mixers.test_definitions import CLOSE, SIZES, H, K, T, V, build, heads, projected, turned


def phi(mixer, x, of_keys):
    x = torch.einsum("...hk,hkf->...hf", x, mixer.map.maps.weight[of_keys])
    return torch.cat([x.softmax(-1), (-x).softmax(-1)], -1)


def qkv(mixer, x, groups, positions):
    q, k, v = projected(mixer, x, H * K, groups * K, groups * V)
    q, k, v = heads(q), heads(k, groups), heads(v, groups)
    if positions:
        q, k = turned(q), turned(k)
    return q, *(y.repeat_interleave(H // groups, 2) for y in (k, v))


@pytest.mark.parametrize("large", [1.0, 30.0])
@pytest.mark.parametrize(("window", "groups"), [(1, 4), (4, 2), (9, 1), (30, 4)])
def test_lolcats(window, groups, large):
    options = {"kv_heads": groups, "window": window, "feature_size": 2}
    if large > 1:  # angles are float32, which shows in large scores
        options["rope_theta"] = None
    mixer, x = build("lolcats", {**SIZES, **options})
    mixer.map.maps.weight.data *= 3
    x = large * x
    q, k, v = qkv(mixer, x, groups, positions=large == 1)
    f, g, factor = phi(mixer, q, 0), phi(mixer, k, 1), torch.sigmoid(mixer.factor)
    outputs = []
    for t in range(T):
        first = max(0, t - window + 1)
        scores = torch.einsum("bhk,bshk->bhs", q[:, t], k[:, first : t + 1]) / K**0.5
        near = factor[:, None] * (scores - scores.amax(-1, keepdim=True)).exp()
        weights = torch.cat([torch.einsum("bhf,bshf->bhs", f[:, t], g[:, :first]), near], -1)
        outputs.append(torch.einsum("bhs,bshv->bhv", weights / weights.sum(-1, keepdim=True), v[:, : t + 1]))
    o = torch.stack(outputs, 1)
    assert_close(mixer(x)[0], o.flatten(-2) @ mixer.output.weight.T, **CLOSE)


@pytest.mark.parametrize("gate", [1.0, 30.0])
@pytest.mark.parametrize(("window", "groups"), [(1, 4), (4, 2), (30, 1)])
def test_lizard(window, groups, gate):
    mixer, x = build("lizard", {**SIZES, "kv_heads": groups, "window": window, "sinks": 2})
    mixer.gate.weight.data *= gate  # decays from weak to strong
    q, k, v = qkv(mixer, x, groups, positions=False)
    f, g = phi(mixer, q, 0), phi(mixer, k, 1)
    keep = torch.sigmoid(x @ mixer.gate.weight.T)[..., 0]
    outputs = []
    for t in range(T):
        fading = torch.stack([keep[:, s + 1 : t + 1].prod(1) for s in range(t + 1)], 1)
        weights = torch.einsum("bhf,bshf,bs->bhs", f[:, t], g[:, : t + 1], fading)
        o = torch.einsum("bhs,bshv->bhv", weights / weights.sum(-1, keepdim=True), v[:, : t + 1])
        first = max(0, t - window + 1)
        near = (torch.einsum("bhk,bshk->bhs", q[:, t], k[:, first : t + 1]) / K**0.5).exp()
        near = near / (near.sum(-1, keepdim=True) + mixer.sinks.exp().sum())
        outputs.append(o + mixer.share_of_window * torch.einsum("bhs,bshv->bhv", near, v[:, first : t + 1]))
    o = torch.stack(outputs, 1)
    assert_close(mixer(x)[0], o.flatten(-2) @ mixer.output.weight.T, **CLOSE)


def test_lizard_is_finite_where_sinks_have_all_weight():
    mixer, x = build("lizard", {**SIZES, "window": 4})
    mixer.sinks.data.fill_(500.0)
    y = mixer.float()(30 * x.float())[0]
    y.sum().backward()
    assert y.isfinite().all() and all(p.grad.isfinite().all() for p in mixer.parameters())


def test_initial_values():
    lolcats, lizard = (build_mixer(name, Dims(width=512, heads=8)) for name in ("lolcats", "lizard"))
    assert (lolcats.window, lolcats.feature_size, lizard.window, lizard.feature_size) == (64, 32, 128, 64)
    assert lolcats.map.maps.weight.abs().max() <= (6 / (64 * 32)) ** 0.5
    assert not lolcats.factor.any() and not lizard.sinks.any() and lizard.share_of_window.item() == 1


@WIDTHS
def test_costs(d):
    found, h = cost("lolcats", d), d // 64
    maps, elements = 64 * 32 * h, h * 64 * 65
    assert found.product_flops == 2 * (4 * d**2 + maps)
    assert found.parameters == 4 * d**2 + 2 * maps + h
    assert found.caches == (Cache(elements=2 * d, flops=4.0 * d, window=64, heads=h),)
    assert found.state_elements == elements
    assert found.decode_flops == 4 * elements + 2 * maps
    assert found.prefill_flops == 4 * elements + CHUNK * h * (64 + 65) + 2 * maps

    found = cost("lizard", d)
    maps, elements = 64 * 64 * h, h * 128 * 65
    assert found.product_flops == 2 * (4 * d**2 + d + 2 * maps)
    assert found.parameters == 4 * d**2 + d + 2 * maps + 4 + 1
    assert found.caches == (Cache(elements=2 * d, flops=4.0 * d, window=128, heads=h),)
    assert (found.state_elements, found.decode_flops) == (elements, 5 * elements)
    assert found.prefill_flops == 4 * elements + CHUNK * h * (128 + 65)
