"""The delta rule with decay, one token at a time."""

import torch
from torch import Tensor


def delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """q (scaled), k [B, T, H, K], v [B, T, H, V], beta, log_decay [B, T, H], state [B, H, K, V]."""
    identity = torch.eye(q.shape[-1], dtype=q.dtype, device=q.device)
    outputs = []
    for t in range(q.shape[1]):
        strength = beta[:, t, :, None, None]
        erase = identity - strength * k[:, t, :, :, None] * k[:, t, :, None]
        decay = log_decay[:, t].exp()[..., None, None]
        state = decay * (erase @ state) + strength * k[:, t, :, :, None] * v[:, t, :, None]
        outputs.append(torch.einsum("bhk,bhkv->bhv", q[:, t], state))
    return torch.stack(outputs, 1), state
