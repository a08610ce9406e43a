"""Softmax attention over the keys that a mask leaves, one query at a time."""

import torch
from torch import Tensor


def masked_attention(q: Tensor, k: Tensor, v: Tensor, seen: Tensor, scale: float) -> Tensor:
    """q [B, T, H, K], k and v [B, S, H, ...], seen [B, H, T, S] -> o [B, T, H, V]."""
    outputs = []
    for t in range(q.shape[1]):
        weights = (scale * torch.einsum("bhk,bshk->bhs", q[:, t], k)).exp() * seen[:, :, t]
        total = weights.sum(-1, keepdim=True)
        weights = torch.where(total > 0, weights / total.clamp(min=1e-300), 0.0)
        outputs.append(torch.einsum("bhs,bshv->bhv", weights, v))
    return torch.stack(outputs, 1)
