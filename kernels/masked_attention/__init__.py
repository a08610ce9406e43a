"""Softmax attention over the keys that a mask leaves: selected blocks, checkpoints, tokens that were not evicted.

All scores are made, and those that are masked thrown away: what a mask saves is not saved here. There is no Triton form
yet. It runs under `torch.vmap` as it is.

Shapes: B sequences, T queries, S keys, H query heads, G key-value heads, K key size, V value size.
"""

import torch
from torch import Tensor

from kernels.backend import pick
from kernels.masked_attention.reference import masked_attention as naive


def _dense(
    q: Tensor, k: Tensor, v: Tensor, seen: Tensor, gates: Tensor | None, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    scores = torch.einsum("bthk,bshk->bhts", scale * q, k)
    scores = (scores if gates is None else scores * gates).masked_fill(~seen, float("-inf"))
    # A query that sees nothing gets zeros, not NaN; nor does its gradient.
    blind = ~seen.any(-1, keepdim=True)
    scores = scores.masked_fill(blind, 0.0)
    most = scores.amax(-1, keepdim=True)
    weights = (scores - most).exp().masked_fill(blind, 0.0)
    total = weights.sum(-1, keepdim=True)
    shares = weights / total.masked_fill(blind, 1.0)
    o = torch.einsum("bhts,bshv->bthv", (shares if gates is None else shares * gates).to(v.dtype), v)
    return o, total.transpose(1, 2), most.transpose(1, 2)


IMPLEMENTATIONS = {"reference": naive, "chunked": _dense, "triton": _dense}


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
    seen = seen.expand(q.shape[0], q.shape[2], q.shape[1], k.shape[1])
    k, v = (x.repeat_interleave(q.shape[2] // k.shape[2], 2) for x in (k, v))
    return pick(IMPLEMENTATIONS, q)(q, k, v, seen, gates, scale)
