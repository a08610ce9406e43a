"""The delta rule with decay, one token at a time."""

import torch
from torch import Tensor


def delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """q (scaled), k [B, T, H, K], v [B, T, H, V], beta, log_decay [B, T, H] (or [B, T, H, K]), state [B, H, K, V]."""
    identity = torch.eye(q.shape[-1], dtype=q.dtype, device=q.device)
    outputs = []
    decays = log_decay.exp()[..., None] if log_decay.dim() == 4 else log_decay.exp()[..., None, None]
    tokens = (x.unbind(1) for x in (q, k, v, beta[..., None, None], decays))
    for query, key, value, strength, decay in zip(*tokens, strict=True):
        erase = identity - strength * key[..., None] * key[..., None, :]
        state = erase @ (decay * state) + strength * key[..., None] * value[..., None, :]
        outputs.append(torch.einsum("bhk,bhkv->bhv", query, state))
    return torch.stack(outputs, 1), state
