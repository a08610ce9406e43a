"""Linear attention with decay, one token at a time."""

import torch
from torch import Tensor


def linear_attention(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """q (scaled), k [B, T, H, K], v [B, T, H, V], log_decay [H], [B, T, H] or [B, T, H, K], state [B, H, K, V]."""
    if log_decay.dim() == 1:
        log_decay = log_decay.expand(q.shape[:3])
    if log_decay.dim() == 3:
        log_decay = log_decay[..., None]
    outputs = []
    for query, key, value, decay in zip(*(x.unbind(1) for x in (q, k, v, log_decay)), strict=True):
        state = decay.exp()[..., None] * state + key[..., None] * value[..., None, :]
        outputs.append(torch.einsum("bhk,bhkv->bhv", query, state))
    return torch.stack(outputs, 1), state
