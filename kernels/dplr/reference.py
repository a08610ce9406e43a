"""The recurrence with a diagonal-plus-low-rank transition, one token at a time."""

import torch
from torch import Tensor


def dplr(
    q: Tensor, k: Tensor, v: Tensor, read: Tensor, write: Tensor, log_decay: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """q (scaled), k, read, write, log_decay [B, T, H, K], v [B, T, H, V], state [B, H, K, V]."""
    outputs = []
    tokens = (x.unbind(1) for x in (q, k, v, read, write, log_decay.exp()))
    for query, key, value, z, p, decay in zip(*tokens, strict=True):
        transition = torch.diag_embed(decay) + p[..., :, None] * z[..., None, :]
        state = transition @ state + key[..., None] * value[..., None, :]
        outputs.append(torch.einsum("bhk,bhkv->bhv", query, state))
    return torch.stack(outputs, 1), state
