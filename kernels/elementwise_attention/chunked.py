"""Attention whose weights come from each score by itself, all pairs of tokens at once.

Shapes: B sequences, T new tokens, P cached tokens, H heads, K key size, V value size.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def elementwise_attention(
    q: Tensor, k: Tensor, v: Tensor, activation: str, slopes: Tensor | None, window: int | None, scale: float
) -> Tensor:
    """q [B, T, H, K] are the last T of the P + T tokens of k, v [B, P + T, H, ...], slopes [H] -> o [B, T, H, V]."""
    new, total = q.shape[1], k.shape[1]
    age = torch.arange(total - new, total, device=q.device)[:, None] - torch.arange(total, device=q.device)
    seen = (age >= 0) if window is None else (age >= 0) & (age < window)
    scores = torch.einsum("bthk,bshk->bhts", scale * q, k)
    if slopes is not None:
        scores = scores - slopes[:, None, None].to(scores.dtype) * age
    if activation == "relu":
        found = F.relu(scores)
    elif activation == "sigmoid":
        found = scores.sigmoid()
    else:
        found = F.softplus(scores)
    found = found * seen
    if activation == "softplus":
        found = found / found.sum(-1, keepdim=True)
    return torch.einsum("bhts,bshv->bthv", found.to(v.dtype), v)
