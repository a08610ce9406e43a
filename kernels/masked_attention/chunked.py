"""Attention under a mask, all pairs of queries and keys at once: what a mask saves is not saved here.

Shapes: B sequences, T queries, S keys, H heads, K key size, V value size.
"""

import torch
from torch import Tensor


def masked_attention(
    q: Tensor, k: Tensor, v: Tensor, seen: Tensor, gates: Tensor | None, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """q [B, T, H, K], k, v [B, S, H, ...], seen, gates [B, H, T, S] -> o [B, T, H, V], sums and maxima [B, T, H, 1]."""
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
