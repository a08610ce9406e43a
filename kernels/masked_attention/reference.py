"""Softmax attention over the keys that a mask leaves, one query at a time."""

import torch
from torch import Tensor


def masked_attention(
    q: Tensor, k: Tensor, v: Tensor, seen: Tensor, gates: Tensor | None, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """q [B, T, H, K], k, v [B, S, H, ...], seen, gates [B, H, T, S] -> o [B, T, H, V], sums and maxima [B, T, H, 1]."""
    outputs, totals, maxima = [], [], []
    for t in range(q.shape[1]):
        each = torch.ones_like(seen[:, :, t], dtype=q.dtype) if gates is None else gates[:, :, t]
        scores, sees = scale * torch.einsum("bhk,bhs,bshk->bhs", q[:, t], each, k), seen[:, :, t]
        most = torch.where(sees, scores, float("-inf")).amax(-1, keepdim=True)
        most = torch.where(sees.any(-1, keepdim=True), most, 0.0)
        weights = torch.where(sees, (scores - most).exp(), 0.0)
        total = weights.sum(-1, keepdim=True)
        weights = torch.where(total > 0, weights / total.clamp(min=1e-300), 0.0)
        outputs.append(torch.einsum("bhs,bhs,bshv->bhv", weights, each, v))
        totals.append(total)
        maxima.append(most)
    return torch.stack(outputs, 1), torch.stack(totals, 1), torch.stack(maxima, 1)
