"""Causal softmax attention, full or within a window, with grouped keys.

Shapes: B sequences, T new tokens, P cached tokens, H query heads, G key-value heads, K key size, V value size.
"""

from torch import Tensor

from kernels.backend import check_shapes, from_triton, pick
from kernels.softmax_attention import cache, chunked, reference
from kernels.vmap import stackable

IMPLEMENTATIONS = {
    "reference": reference.softmax_attention,
    "chunked": chunked.softmax_attention,
    "triton": from_triton("softmax_attention", "softmax_attention"),
}
Cache = tuple[Tensor, Tensor]


@stackable()
def softmax_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    window: int | None = None,
    scale: float | None = None,
    initial_state: Cache | None = None,
) -> tuple[Tensor, Cache]:
    """o_t = sum_s softmax_s(scale q_t . k_s) v_s over the tokens s <= t (1706.03762, eq. 1).

    Query head h reads key-value head h // (H / G) (2305.13245).

    Args:
        q: [B, T, H, K]. Without `initial_state` there may be fewer queries than keys: those of the last tokens.
        k: [B, T, G, K], where G divides H.
        v: [B, T, G, V].
        window: a token sees itself and the `window` - 1 tokens before it; None means all before it.
        scale: K^-0.5 by default.
        initial_state: keys [B, P, G, K] and values [B, P, G, V] of the tokens before.

    Returns:
        o [B, T, H, V], and keys and values of all tokens so far, or of the last `window` ones. To continue a cache
        where gradients are off costs no copy of it.

    Raises:
        ValueError: shapes do not fit.
    """
    batch, length, groups = k.shape[:3]
    past = (None, None) if initial_state is None else initial_state
    cached = 0 if initial_state is None else initial_state[0].shape[1]
    queries = length if initial_state is not None else min(q.shape[1], length)
    check_shapes(
        q=(q, (batch, queries, q.shape[2], k.shape[3])),
        v=(v, (batch, length, groups, v.shape[-1])),
        cached_keys=(past[0], (batch, cached, groups, k.shape[3])),
        cached_values=(past[1], (batch, cached, groups, v.shape[-1])),
    )
    if q.shape[2] % groups:
        raise ValueError(f"{q.shape[2]} query heads: expected a multiple of the {groups} key-value heads")
    if initial_state is not None:
        k, v = cache.append(initial_state[0], k), cache.append(initial_state[1], v)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    o = pick(IMPLEMENTATIONS, q)(q, k, v, window, scale)
    if window is not None and k.shape[1] > window:
        k, v = cache.last(k, window), cache.last(v, window)
    return o, (k, v)


def softmax_attention_step(
    q: Tensor, k: Tensor, v: Tensor, state: Cache, *, window: int | None = None, scale: float | None = None
) -> tuple[Tensor, Cache]:
    """A single token: q [B, H, K], k [B, G, K], v [B, G, V] -> o [B, H, V] and the new cache."""
    q, k, v = (x.unsqueeze(1) for x in (q, k, v))
    o, state = softmax_attention(q, k, v, window=window, scale=scale, initial_state=state)
    return o[:, 0], state
