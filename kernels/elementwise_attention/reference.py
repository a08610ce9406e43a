"""Attention whose weights come from each score by itself, one query at a time."""

import torch
from torch import Tensor
from torch.nn import functional as F


def elementwise_attention(
    q: Tensor, k: Tensor, v: Tensor, activation: str, slopes: Tensor | None, window: int | None, scale: float
) -> Tensor:
    """q [B, T, H, K] are the last T of the P + T tokens of k, v [B, P + T, H, ...], slopes [H] -> o [B, T, H, V]."""
    past, outputs = k.shape[1] - q.shape[1], []
    for t in range(q.shape[1]):
        end = past + t + 1
        begin = 0 if window is None else max(0, end - window)
        scores = scale * torch.einsum("bhk,bshk->bhs", q[:, t], k[:, begin:end])
        if slopes is not None:
            scores = scores - slopes[:, None] * torch.arange(end - 1 - begin, -1, -1, device=q.device)
        if activation == "relu":
            found = scores.clamp(min=0)
        elif activation == "sigmoid":
            found = scores.sigmoid()
        else:
            found = F.softplus(scores)
            found = found / found.sum(-1, keepdim=True)
        outputs.append(torch.einsum("bhs,bshv->bhv", found, v[:, begin:end]))
    return torch.stack(outputs, 1)
