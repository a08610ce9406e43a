"""Attention to checkpoints: every so many tokens one that all later ones see, beside themselves.

Shapes: B sequences, T tokens, P checkpoints so far, H heads, G key-value heads, K key size, V value size.
"""

import torch
from torch import Tensor

from kernels import masked_attention

Checkpoints = tuple[Tensor, Tensor]
"""Keys [B, P, G, K] and values [B, P, G, V]."""


def attend(
    q: Tensor, k: Tensor, v: Tensor, before: Checkpoints | None, position: int, every: int
) -> tuple[Tensor, Checkpoints]:
    """What each token reads of itself and of the checkpoints before it.

    Args:
        q: [B, T, H, K].
        k: [B, T, G, K], where G divides H.
        v: [B, T, G, V].
        before: those before the first of these tokens.
        position: place of that token in its sequence.
        every: tokens from one checkpoint to the next; the first is token `every` - 1.

    Returns:
        o [B, T, H, V], and all checkpoints so far.
    """
    length = q.shape[1]
    place = torch.arange(length, device=q.device)
    earlier = place[:, None] > place
    seen = (earlier & ((position + place + 1) % every == 0)) | (place[:, None] == place)
    first = -(position + 1) % every
    found = k[:, first::every], v[:, first::every]
    if before is not None:
        seen = torch.cat([seen.new_ones(length, before[0].shape[1]), seen], 1)
        k, v = torch.cat([before[0], k], 1), torch.cat([before[1], v], 1)
        found = torch.cat([before[0], found[0]], 1), torch.cat([before[1], found[1]], 1)
    return masked_attention(q, k, v, seen), found
