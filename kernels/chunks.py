"""Cutting sequences into chunks, for the chunked forms.

Shapes: B sequences, T tokens, H heads, N chunks of C tokens.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

RANGE = 120.0
"""Largest span of summed log decays in a chunk: half of it, as an exponent, is far from overflow in float32."""
STRONGEST = -RANGE
"""Log decays of chunked forms are no less, -inf included, and what is cut off gets no gradient: e^-120 is 0 in float32,
and in float64 nothing beside what is written."""


def fitting_chunk(log_decay: Tensor, longest: int, shortest: int) -> tuple[int, Tensor]:
    """The longest chunk in which no summed log decay by key can span over RANGE.

    Args:
        log_decay: [B, T, H, K].
        longest: tokens of the chunk where decays are weak.
        shortest: 2 at least; tokens of the chunk where they are strong.

    Returns:
        `longest` or a fraction of it, and the log decays, no less than fit into the shortest chunk.
    """
    least = STRONGEST / (shortest - 1)
    found = log_decay.detach().amin().item()
    size = longest
    # "not >=", for NaN: of several models, one that diverged must not overflow the others.
    while size > shortest and not found * (size - 1) >= -RANGE:
        size //= 2
    return size, log_decay if found >= least else log_decay.clamp(min=least)


def into_chunks(x: Tensor, size: int) -> Tensor:
    """x [B, T, H, ...] -> [B, H, N, C, ...]; the last chunk is filled up with zeros."""
    missing = -x.shape[1] % size
    if missing:
        x = pad(x, (0, 0) * (x.dim() - 2) + (0, missing))
    # Each chunk is read several times, and sums and products of strided ones are slow on a CPU.
    return x.unflatten(1, (-1, size)).movedim(3, 1).contiguous()


def from_chunks(x: Tensor, length: int) -> Tensor:
    """The reverse: x [B, H, N, C, ...] -> [B, T, H, ...] with T = `length`."""
    return x.movedim(1, 3).flatten(1, 2)[:, :length]


def decay_within(log_decay: Tensor) -> Tensor:
    """exp of the sum of log decays over j < s <= i: [..., C (s)] -> [..., C (i), C (j)]; 0 where j > i.

    The sums are products with a constant that adds up what lies between i and j, and nothing else: differences of
    running sums would lose small decays that follow strong ones.
    """
    size = log_decay.shape[-1]
    until = log_decay.new_ones(size, size).tril()  # [i, s]: s <= i
    between = until[:, None] * (1 - until)  # [i, j, s]
    later = log_decay.new_full((size, size), -torch.inf).triu(1)  # [i, j]: j > i
    with torch.autocast(log_decay.device.type, enabled=False):  # sums in bfloat16 would be worth nothing
        sums = linear(log_decay, between.flatten(0, 1) / math.log(2), later.flatten())
    return sums.unflatten(-1, (size, size)).exp2()  # exp takes ten times as long where it gives 0
