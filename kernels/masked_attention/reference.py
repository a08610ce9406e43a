"""Softmax attention over the keys that a mask leaves, one query at a time."""

import torch
from torch import Tensor


def masked_attention(q: Tensor, k: Tensor, v: Tensor, seen: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """q [B, T, H, K], k and v [B, S, H, ...], seen [B, H, T, S] -> o [B, T, H, V], totals and maxima [B, T, H, 1]."""
    outputs, totals, maxima = [], [], []
    for t in range(q.shape[1]):
        scores, sees = scale * torch.einsum("bhk,bshk->bhs", q[:, t], k), seen[:, :, t]
        most = torch.where(sees, scores, float("-inf")).amax(-1, keepdim=True)
        most = torch.where(sees.any(-1, keepdim=True), most, 0.0)
        weights = torch.where(sees, (scores - most).exp(), 0.0)
        total = weights.sum(-1, keepdim=True)
        weights = torch.where(total > 0, weights / total.clamp(min=1e-300), 0.0)
        outputs.append(torch.einsum("bhs,bshv->bhv", weights, v))
        totals.append(total)
        maxima.append(most)
    return torch.stack(outputs, 1), torch.stack(totals, 1), torch.stack(maxima, 1)
