"""Softmax attention, one query at a time."""

import torch
from torch import Tensor

from kernels.backend import to_heads


def softmax_attention(q: Tensor, k: Tensor, v: Tensor, window: int | None, scale: float) -> Tensor:
    """q [B, T, H, K] are the last T of the P + T tokens of k, v [B, P + T, G, ...] -> o [B, T, H, V]."""
    k, v = (to_heads(x, q.shape[2]) for x in (k, v))
    past = k.shape[1] - q.shape[1]
    outputs = []
    for t in range(q.shape[1]):
        end = past + t + 1
        begin = 0 if window is None else max(0, end - window)
        scores = scale * torch.einsum("bhk,bshk->bhs", q[:, t], k[:, begin:end])
        outputs.append(torch.einsum("bhs,bshv->bhv", scores.softmax(-1), v[:, begin:end]))
    return torch.stack(outputs, 1)
