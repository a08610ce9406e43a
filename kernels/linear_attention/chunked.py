"""Linear attention with decay in chunks (2312.06635, section 4): attention within a chunk, a state between chunks.

Shapes: B sequences, T tokens, H heads, N chunks of C tokens, K key size, V value size.
"""

import torch
from torch import Tensor

from kernels.chunks import fitting_chunk, from_chunks, into_chunks

CHUNK = 16


def linear_attention(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """q (scaled), k [B, T, H, K], v [B, T, H, V], log_decay [H], [B, T, H] or [B, T, H, K], state [B, H, K, V]."""
    length = q.shape[1]
    if log_decay.dim() < 4:
        log_decay = log_decay.expand(q.shape[:3])[..., None]
    size = min(fitting_chunk(log_decay, CHUNK), length)
    q, k, v, log_decay = (into_chunks(x, size) for x in (q, k, v, log_decay))
    total = log_decay.cumsum(3)  # [B, H, N, C, K or 1]
    centre = (total[:, :, :, :1] + total[:, :, :, -1:]) / 2
    scores = (q * (total - centre).exp()) @ (k * (centre - total).exp()).mT
    later = scores.new_ones(size, size, dtype=torch.bool).triu(1)
    scores = scores.masked_fill(later, 0.0)
    last = total[:, :, :, -1:]
    written = (k * (last - total).exp()).mT @ v  # [B, H, N, K, V]
    kept = last.exp().mT  # [B, H, N, K or 1, 1]
    states = []
    # unbind, because each index by n would fill a whole gradient with zeros in the backward pass
    for keep, write in zip(kept.unbind(2), written.unbind(2), strict=True):
        states.append(state)
        state = keep * state + write
    o = scores @ v + (q * total.exp()) @ torch.stack(states, 2)
    return from_chunks(o, length), state
