"""Causal attention whose weights come from each score by itself, not from a softmax over all.

There is no Triton form yet: the plain one, all pairs of tokens at once, runs on a GPU, too.

Shapes: B sequences, T new tokens, P cached tokens, H query heads, G key-value heads, K key size, V value size.
"""

from torch import Tensor

from kernels.backend import check_shapes, pick, to_heads
from kernels.elementwise_attention import chunked, reference
from kernels.softmax_attention import cache
from kernels.vmap import stackable

IMPLEMENTATIONS = {
    "reference": reference.elementwise_attention,
    "chunked": chunked.elementwise_attention,
    "triton": chunked.elementwise_attention,
}
ACTIVATIONS = ["relu", "softplus", "sigmoid"]
Cache = tuple[Tensor, Tensor]


@stackable()
def elementwise_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    activation: str,
    *,
    decaying: bool = False,
    window: int | None = None,
    scale: float | None = None,
    initial_state: Cache | None = None,
) -> tuple[Tensor, Cache]:
    """o_t = sum_s f(scale q_t . k_s - m_h (t - s)) v_s over the tokens s <= t.

    f is relu (2104.07012), sigmoid (2502.18845), or softplus, whose weights are divided by their sum
    (2501.13428). Query head h reads key-value head h // (H / G).

    Args:
        q: [B, T, H, K].
        k: [B, T, G, K], where G divides H.
        v: [B, T, G, V].
        activation: f; relu, softplus or sigmoid.
        decaying: whether there are slopes m_h as in balanced ALiBi (2502.18845): 2^-1, 2^-2, ... for the first half of
            the heads, which look near, and their negatives for the others, which look far; otherwise they are 0.
        window: a token sees itself and the `window` - 1 tokens before it; None means all before it.
        scale: K^-0.5 by default.
        initial_state: keys [B, P, G, K] and values [B, P, G, V] of the tokens before.

    Returns:
        o [B, T, H, V], and keys and values of all tokens so far, or of the last `window` ones.

    Raises:
        ValueError: shapes do not fit, or no such activation.
    """
    batch, length, groups = k.shape[:3]
    heads = q.shape[2]
    check_shapes(
        q=(q, (batch, length, heads, k.shape[3])),
        v=(v, (batch, length, groups, v.shape[-1])),
    )
    if heads % groups:
        raise ValueError(f"{heads} query heads: expected a multiple of the {groups} key-value heads")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation}: expected one of {', '.join(ACTIVATIONS)}")
    if initial_state is not None:
        k, v = cache.append(initial_state[0], k), cache.append(initial_state[1], v)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    each_k, each_v = (to_heads(x, heads) for x in (k, v))
    o = pick(IMPLEMENTATIONS, q)(q, each_k, each_v, activation, slopes(q) if decaying else None, window, scale)
    if window is not None and k.shape[1] > window:
        k, v = cache.last(k, window), cache.last(v, window)
    return o, (k, v)


def elementwise_attention_step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    activation: str,
    state: Cache,
    *,
    decaying: bool = False,
    window: int | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Cache]:
    """A single token: q [B, H, K], k [B, G, K], v [B, G, V] -> o [B, H, V] and the new cache."""
    q, k, v = (x.unsqueeze(1) for x in (q, k, v))
    o, state = elementwise_attention(
        q, k, v, activation, decaying=decaying, window=window, scale=scale, initial_state=state
    )
    return o[:, 0], state


def slopes(q: Tensor) -> Tensor:
    """Those of the heads of q [B, T, H, K]: [H], of the dtype of q; an odd last head looks near."""
    heads = q.shape[2]
    far = heads // 2
    return q.new_tensor([2.0**-h for h in range(1, heads - far + 1)] + [-(2.0**-h) for h in range(1, far + 1)])
