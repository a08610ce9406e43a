"""The Triton form of attention under a mask: masks, gates, groups, sizes, strides, memory that nobody wrote."""

import pytest
import torch

pytest.importorskip("triton")

from torch.testing import assert_close

from kernels import masked_attention, masked_attention_with_total
from kernels.vmap import stacked
from tests.kernels.test_operators import DEVICE, compare, draw

B, H = 2, 2


@pytest.fixture(autouse=True)
def poisoned(monkeypatch):
    """Fresh memory holds NaN: whoever reads what nobody wrote shows it."""
    empty = torch.empty

    def poisoned(*shape, **options):
        x = empty(*shape, **options)
        return x.fill_(float("nan")) if x.is_floating_point() else x

    monkeypatch.setattr(torch, "empty", poisoned)


def draws(queries, keys, groups=1, key_size=6, value_size=4, gated=False):
    inputs = {
        "q": draw(B, queries, H, key_size), "k": draw(B, keys, groups, key_size, seed=1),
        "v": draw(B, keys, groups, value_size, seed=2),
    }  # fmt: skip
    return inputs | ({"gates": draw(B, H, queries, keys, seed=3)} if gated else {})


def masks(queries, keys):
    """Masks [B, H, T, S], or broadcast to that."""
    age = torch.arange(keys - queries, keys)[:, None] - torch.arange(keys)
    some = draw(B, H, queries, keys, seed=4) > 0.5
    some[0, 1, 0] = False  # sees nothing
    return {
        "some": some, "few": draw(B, H, queries, keys, seed=4) > 2.5, "causal": age >= 0,
        "window": (age >= 0) & (age < 9), "by sequence": draw(B, 1, queries, keys) > 0, "none": age > keys,
    }  # fmt: skip


def check(mask, queries, keys, monkeypatch, **sizes):
    seen = masks(queries, keys)[mask]

    def run(x):
        see = seen.to(x["q"].device)
        return masked_attention_with_total(x["q"], x["k"], x["v"], see, gates=x.get("gates"), scale=0.7)

    compare(run, draws(queries, keys, **sizes), "triton", monkeypatch)


@pytest.mark.parametrize("gated", [False, True], ids=["plain", "gated"])
@pytest.mark.parametrize("mask", masks(1, 1))
def test_masks(mask, gated, monkeypatch):
    check(mask, 35, 40, monkeypatch, gated=gated)


@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (1, 40), (7, 3), (65, 33)])
def test_lengths(queries, keys, monkeypatch):
    check("some", queries, keys, monkeypatch)


@pytest.mark.parametrize(
    ("groups", "key_size", "value_size"), [(2, 16, 16), (1, 1, 33), (2, 40, 64), (1, 256, 3), (1, 257, 3)]
)
def test_groups_and_sizes(groups, key_size, value_size, monkeypatch):
    check("some", 17, 20, monkeypatch, groups=groups, key_size=key_size, value_size=value_size)


@pytest.mark.parametrize("output", [1, 2], ids=["sums", "maxima"])
def test_a_gradient_of_one_output(output, monkeypatch):
    seen = masks(20, 40)["some"]

    def run(x):
        return [masked_attention_with_total(x["q"], x["k"], x["v"], seen.to(x["q"].device))[output]]

    compare(run, draws(20, 40), "triton", monkeypatch)


def test_slices_of_larger_tensors(monkeypatch):
    seen = masks(20, 40)["some"].to(DEVICE)
    q, k, v = (x.float().to(DEVICE) for x in draws(20, 40).values())
    monkeypatch.setenv("KERNELS_BACKEND", "reference")
    expected = masked_attention(q, k, v, seen)
    monkeypatch.setenv("KERNELS_BACKEND", "triton")
    both = torch.cat([v, k, v], -1)
    found = masked_attention(q.mT.contiguous().mT, both[..., 4:10], both[..., 10:], seen.mT.contiguous().mT)
    assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_keys_of_another_type(monkeypatch):
    """As where what is cached is float32, and what is new is not; the interpreter has no products of bfloat16."""
    monkeypatch.setenv("KERNELS_BACKEND", "triton")
    seen = masks(20, 40)["some"].to(DEVICE)
    q, k, v = (x.half().float().to(DEVICE) for x in draws(20, 40).values())
    found = masked_attention(q.half(), k, v, seen)
    assert found.dtype == torch.float32
    assert_close(found, masked_attention(q, k, v, seen), rtol=1e-2, atol=1e-2)


def test_a_stack_of_models(monkeypatch):
    """Whose masks are the same, or each their own."""
    monkeypatch.setenv("KERNELS_BACKEND", "triton")
    q, k, v = (torch.stack([x, x.flip(1), -x]).float().to(DEVICE) for x in draws(20, 40).values())
    for name in ("window", "some"):
        seen = masks(20, 40)[name].to(DEVICE)
        with stacked():
            found = torch.vmap(masked_attention, (0, 0, 0, None))(q, k, v, seen)
            each = torch.vmap(masked_attention)(q, k, v, torch.stack([seen, ~seen, seen]))
        assert_close(found, torch.stack([masked_attention(*x, seen) for x in zip(q, k, v, strict=True)]))
        assert_close(each[::2], found[::2])
        assert_close(each[1], masked_attention(q[1], k[1], v[1], ~seen))
