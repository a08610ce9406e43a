"""Linear attention with decay in chunks (2312.06635, section 4): attention within a chunk, a state between chunks.

Shapes: B sequences, T tokens, H heads, N chunks of C tokens, K key size, V value size.
"""

import torch
from torch import Tensor

from kernels.chunks import STRONGEST, decay_within, fitting_chunk, from_chunks, into_chunks

CHUNK = 16


def linear_attention(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """q (scaled), k [B, T, H, K], v [B, T, H, V], log_decay [H], [B, T, H] or [B, T, H, K], state [B, H, K, V]."""
    length, by_key = q.shape[1], log_decay.dim() == 4
    if by_key:
        size, log_decay = fitting_chunk(log_decay, CHUNK, shortest=2)
    else:
        size, log_decay = CHUNK, log_decay.clamp(min=STRONGEST).expand(q.shape[:3])
    size = min(size, length)
    q, k, v, log_decay = (into_chunks(x, size) for x in (q, k, v, log_decay))
    total = log_decay.cumsum(3)  # [B, H, N, C] or [B, H, N, C, K]
    if by_key:
        last = total[:, :, :, -1:]
        centre = (total[:, :, :, :1] + last) / 2
        # What lies above the diagonal may have overflown.
        scores = ((q * (total - centre).exp()) @ (k * (centre - total).exp()).mT).tril()
        until_end = (last - total).exp()
    else:
        decay = decay_within(log_decay)
        scores = q @ k.mT * decay
        total, until_end = total[..., None], decay[..., -1, :, None]
    since_start = total.exp()
    written = (k * until_end).mT @ v  # [B, H, N, K, V]
    kept = since_start[:, :, :, -1:].mT  # [B, H, N, K or 1, 1]
    states = []
    # unbind, because each index by n would fill a whole gradient with zeros in the backward pass
    for keep, write in zip(kept.unbind(2), written.unbind(2), strict=True):
        states.append(state)
        state = keep * state + write
    o = scores @ v + (q * since_start) @ torch.stack(states, 2)
    return from_chunks(o, length), state
