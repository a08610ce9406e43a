"""Caches that grow in place behave as values that nobody changes."""

import copy
import gc

import pytest
import torch

from kernels import softmax_attention, softmax_attention_step
from kernels.softmax_attention import cache


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


@pytest.fixture(params=[torch.no_grad, torch.inference_mode], ids=["no_grad", "inference"], autouse=True)
def mode(request):
    with request.param():
        yield request.param


def grown(tokens, count, window=None):
    """Caches after each of `count` tokens beyond `tokens`, and what they should hold."""
    every = draw(2, tokens + count, 3, 4)
    found, exact = [every[:, :tokens]], [every[:, :tokens].clone()]
    for t in range(tokens, tokens + count):
        following = cache.append(found[-1], every[:, t : t + 1])
        if window is not None and following.shape[1] > window:
            following = cache.last(following, window)
        found.append(following)
        exact.append(every[:, : t + 1] if window is None else every[:, max(0, t + 1 - window) : t + 1])
    return found, exact


@pytest.mark.parametrize("window", [None, 1, 7])
@pytest.mark.parametrize("tokens", [1, 7, 100])
def test_all_caches_keep_their_values(tokens, window):
    found, exact = grown(tokens, 300, window)
    for a, b in zip(found[1:], exact[1:], strict=True):
        assert torch.equal(a, b)


def test_a_token_is_written_in_place():
    found, _ = grown(100, 60)
    assert len({x.untyped_storage().data_ptr() for x in found[1:]}) == 1


@pytest.mark.parametrize("window", [5, 2000])
def test_a_window_needs_bounded_memory(window):
    found, _ = grown(window, 3000, window)
    stores = [x.untyped_storage() for x in found[1:]]
    assert max(x.nbytes() for x in stores) <= (2 * window + cache.MOST + cache.FEWEST + 2) * 2 * 3 * 4 * 4
    assert len({x.data_ptr() for x in stores}) <= 1 + 3000 // cache.FEWEST


def test_a_cache_that_is_continued_twice():
    past = cache.append(draw(2, 5, 3, 4), draw(2, 1, 3, 4))
    before = past.clone()
    one, two = draw(2, 1, 3, 4, seed=1), draw(2, 1, 3, 4, seed=2)
    first, second = cache.append(past, one), cache.append(past, two)
    third = cache.append(first, two)
    assert torch.equal(past, before)
    assert torch.equal(first, torch.cat([before, one], 1))
    assert torch.equal(second, torch.cat([before, two], 1))
    assert torch.equal(third, torch.cat([before, one, two], 1))
    assert first.data_ptr() == past.data_ptr() == third.data_ptr() != second.data_ptr()


def test_several_tokens_at_once():
    past = cache.append(draw(2, 5, 3, 4), draw(2, 20, 3, 4))
    grown = cache.append(past, draw(2, 30, 3, 4, seed=1))
    assert grown.data_ptr() == past.data_ptr()
    assert torch.equal(grown, torch.cat([draw(2, 5, 3, 4), draw(2, 20, 3, 4), draw(2, 30, 3, 4, seed=1)], 1))
    longer = cache.append(grown, draw(2, 3000, 3, 4))
    assert torch.equal(longer[:, :55], grown)
    short = cache.last(longer, 16)
    assert torch.equal(short, longer[:, -16:])
    assert short.untyped_storage().nbytes() < longer.untyped_storage().nbytes() / 10


def test_slices_copies_and_saved_caches_are_plain(tmp_path):
    past = cache.append(draw(2, 5, 3, 4), draw(2, 1, 3, 4))
    for other in (past[:, 1:], past[:1], past.clone(), past[[1, 0]], copy.deepcopy(past)):
        before = other.clone()
        following = cache.append(other, before[:, :1])
        assert torch.equal(following, torch.cat([before, before[:, :1]], 1))
        assert following.data_ptr() != past.data_ptr()
    torch.save(past.clone(), tmp_path / "cache.pt")
    assert torch.equal(torch.load(tmp_path / "cache.pt", weights_only=True), past)


def test_other_modes_continue_a_cache(mode):
    past = cache.append(draw(2, 5, 3, 4), draw(2, 1, 3, 4))
    for other in (torch.no_grad, torch.inference_mode):
        with torch.inference_mode(False), torch.no_grad(), other():
            past = cache.append(past, draw(2, 1, 3, 4))
    assert torch.equal(past, torch.cat([draw(2, 5, 3, 4), *[draw(2, 1, 3, 4)] * 3], 1))


def test_gradients_copy():
    with torch.inference_mode(False):
        with torch.no_grad():
            past = cache.append(draw(2, 5, 3, 4), draw(2, 1, 3, 4))
        with torch.enable_grad():
            kept = past.clone()
            weight = draw(2, 7, 3, 4).requires_grad_()
            new = draw(2, 1, 3, 4).requires_grad_()
            loss = (cache.append(past, new) * weight).sum() + (past * weight[:, 1:]).sum()
        with torch.no_grad():
            assert cache.append(past, draw(2, 1, 3, 4)).data_ptr() == past.data_ptr()
        loss.backward()
        assert torch.equal(new.grad, weight[:, -1:])
        assert torch.equal(past, kept)


def test_nothing_is_kept_of_caches_that_are_gone():
    gc.collect()
    before = len(cache._VIEWS)
    found, _ = grown(5, 50, 8)
    assert len(cache._VIEWS) == before + 50
    found.clear()
    gc.collect()
    assert len(cache._VIEWS) == before


@pytest.mark.parametrize("window", [None, 6])
def test_attention_continues_its_cache(window):
    q, k, v = draw(2, 90, 4, 8), draw(2, 90, 2, 8, seed=1), draw(2, 90, 2, 8, seed=2)
    expected, _ = softmax_attention(q, k, v, window=window)
    o, state = softmax_attention(q[:, :10], k[:, :10], v[:, :10], window=window)
    outputs, places = [o], set()
    for t in range(10, 90):
        o, state = softmax_attention_step(q[:, t], k[:, t], v[:, t], state, window=window)
        outputs.append(o[:, None])
        places.add(state[0].untyped_storage().data_ptr())
    torch.testing.assert_close(torch.cat(outputs, 1), expected, atol=1e-5, rtol=1e-5)
    assert len(places) <= 3
