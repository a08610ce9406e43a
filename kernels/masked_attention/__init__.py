"""Softmax attention over the keys that a mask leaves: selected blocks, checkpoints, tokens that were not evicted.

Shapes: B sequences, T queries, S keys, H query heads, G key-value heads, K key size, V value size.
"""

from collections.abc import Callable

from torch import Tensor

from kernels.backend import from_triton, pick, to_heads
from kernels.masked_attention import chunked, reference
from kernels.vmap import stackable


def _plain(form: Callable) -> Callable:
    """A form that gets keys and values of every query head."""

    def run(
        q: Tensor, k: Tensor, v: Tensor, seen: Tensor, gates: Tensor | None, scale: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        k, v = (to_heads(x, q.shape[2]) for x in (k, v))
        return form(q, k, v, seen, gates, scale)

    return run


IMPLEMENTATIONS = {
    "reference": _plain(reference.masked_attention),
    "chunked": _plain(chunked.masked_attention),
    "triton": from_triton("masked_attention", "masked_attention"),
}


def masked_attention(
    q: Tensor, k: Tensor, v: Tensor, seen: Tensor, *, gates: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """o_t = sum_s softmax_s(scale q_t . k_s) v_s over the keys s that query t sees; zero if it sees none.

    Args:
        q: [B, T, H, K].
        k: [B, S, G, K], where G divides H: query head h reads key-value head h // (H / G).
        v: [B, S, G, V].
        seen: whether query t sees key s, [B, H, T, S], or to be broadcast to that.
        gates: what query t multiplies key s with, and its value as well, [B, H, T, S]; 1 by default.
        scale: K^-0.5 by default.

    Returns:
        o [B, T, H, V] in the dtype of v.
    """
    return masked_attention_with_total(q, k, v, seen, gates=gates, scale=scale)[0]


def masked_attention_with_total(
    q: Tensor, k: Tensor, v: Tensor, seen: Tensor, *, gates: Tensor | None = None, scale: float | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The same, with what it takes to join further weights: o, sum_s exp(score_s - most) and most = max_s score_s.

    Both are [B, T, H, 1], and zero for a query that sees nothing.
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return _attention(q, k, v, seen.expand(q.shape[0], q.shape[2], q.shape[1], k.shape[1]), gates, scale)


@stackable()
def _attention(
    q: Tensor, k: Tensor, v: Tensor, seen: Tensor, gates: Tensor | None, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    return pick(IMPLEMENTATIONS, q)(q, k, v, seen, gates, scale)
