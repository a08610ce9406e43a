"""Log-linear attention, one token at a time: states of 1, 2, 4, ... tokens merge as bits of a counter are carried."""

import torch
from torch import Tensor


def log_linear_attention(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, weights: Tensor, position: int, states: Tensor
) -> tuple[Tensor, Tensor]:
    """q (scaled), k [B, T, H, K], v [B, T, H, V], log_decay [B, T, H], weights [B, T, H, L], states [B, P, H, K, V]."""
    buckets, outputs = list(states.unbind(1)), []
    for t in range(q.shape[1]):
        decay = log_decay[:, t].exp()[..., None, None]
        own = k[:, t, :, :, None] * v[:, t, :, None, :]
        buckets = [decay * bucket for bucket in buckets]
        last = weights.shape[-1] - 1
        read = [
            weights[:, t, :, min(level, last), None] * torch.einsum("bhk,bhkv->bhv", q[:, t], state)
            for level, state in enumerate([own, *buckets])
        ]
        outputs.append(torch.stack(read).sum(0))
        place = 0
        while (position + t) >> place & 1:  # a bucket that is there is carried
            own = own + buckets[place]
            buckets[place] = torch.zeros_like(own)
            place += 1
        buckets[place : place + 1] = [own]
    return torch.stack(outputs, 1), torch.stack(buckets, 1)
