"""Log-linear attention, one token at a time: states of 1, 2, 4, ... tokens merge as bits of a counter are carried."""

import torch
from torch import Tensor


def log_linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor | None,
    log_decay: Tensor,
    weights: Tensor,
    position: int,
    states: Tensor,
) -> tuple[Tensor, Tensor]:
    """q (scaled), k [B, T, H, K], v [B, T, H, V], gates [B, T, H], weights [B, T, H, L], states [B, P, H, K, V]."""
    buckets, outputs = list(states.unbind(1)), []
    for t in range(q.shape[1]):
        decay = log_decay[:, t].exp()[..., None, None]
        key = k[:, t, :, :, None]
        own = key * v[:, t, :, None, :]
        buckets = [decay * bucket for bucket in buckets]
        if beta is not None:  # every bucket forgets what it holds under the key
            strength = beta[:, t, :, None, None]
            own = strength * own
            buckets = [bucket - strength * key * (key * bucket).sum(-2, keepdim=True) for bucket in buckets]
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
