"""Cutting sequences into chunks, for the chunked forms.

Shapes: B sequences, T tokens, H heads, N chunks of C tokens.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

RANGE = 120.0
"""Largest span of summed log decays in a chunk: half of it, as an exponent, is far from overflow in float32."""


@torch.no_grad()
def fitting_chunk(log_decay: Tensor, size: int, least: int = 1) -> int:
    """The longest chunk, `size` or a fraction down to `least`, in which no summed log decay can span over RANGE."""
    strongest = -log_decay.amin().item()
    # "not <=", for NaN: of several models, one that diverged must not overflow the others.
    while size > least and not strongest * (size - 1) <= RANGE:
        size //= 2
    return size


def into_chunks(x: Tensor, size: int) -> Tensor:
    """x [B, T, H, ...] -> [B, H, N, C, ...]; the last chunk is filled up with zeros."""
    missing = -x.shape[1] % size
    if missing:
        x = pad(x, (0, 0) * (x.dim() - 2) + (0, missing))
    return x.unflatten(1, (-1, size)).movedim(3, 1)


def from_chunks(x: Tensor, length: int) -> Tensor:
    """The reverse: x [B, H, N, C, ...] -> [B, T, H, ...] with T = `length`."""
    return x.movedim(1, 3).flatten(1, 2)[:, :length]


def decay_within(total: Tensor) -> Tensor:
    """exp(g_i - g_j) for j <= i and 0 above, from running sums g [..., C] -> [..., C, C]. Never overflows."""
    difference = total[..., :, None] - total[..., None, :]
    size = total.shape[-1]
    later = difference.new_ones(size, size, dtype=torch.bool).triu(1)
    return difference.masked_fill(later, float("-inf")).exp()
