"""Cutting sequences into chunks, for the chunked forms.

Shapes: B sequences, T tokens, H heads, N chunks of C tokens.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

RANGE = 120.0
"""Largest span of summed log decays in a chunk: half of it, as an exponent, is far from overflow in float32."""
WEAK = 32.0
"""The same where a chunk can be done otherwise: e^-32 of sums in float32 is right to six digits."""
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


def weak_sums(log_decay: Tensor, sizes: Sequence[int]) -> Tensor | None:
    """Sums of log decays [B, H, N, C] in the longest chunks of `sizes` in which none spans over WEAK; None: there are
    no such chunks. NaN is passed over, so that of several models one that diverged does not change the others.

    Args:
        log_decay: [B, T, H].
        sizes: the longest first.
    """
    for size in sizes:
        total = into_chunks(log_decay, size).cumsum(3)
        if (total[..., -1] - total[..., 0]).nan_to_num().amin().item() >= -WEAK:
            return total
    return None


def middle(total: Tensor) -> Tensor:
    """Of the sums of log decays in chunks [B, H, N, C, ...]: halfway between the first and the last [B, H, N, 1, ...].

    Exponents are taken from there, since they then are half as large. What that does cancels out, so it needs no
    gradient.
    """
    return (total[:, :, :, :1] + total[:, :, :, -1:]).detach() / 2


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


def decays(log_decay: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How much chunks forget, from their log decays [..., C].

    Returns:
        From token j to token i [..., C (i), C (j)], 0 where j > i; from the start of the chunk to token i [..., C, 1],
        the decay of i included; from token j to the end of the chunk [..., C, 1].
    """
    later = pad(log_decay[..., 1:], (0, 1)).flip(-1).cumsum(-1).flip(-1)
    within: Tensor = _Within.apply(log_decay)  # type: ignore[no-untyped-call]
    return within, log_decay.cumsum(-1)[..., None].exp(), later[..., None].exp()


class _Within(torch.autograd.Function):
    """exp of the sum of log decays over j < s <= i: [..., C (s)] -> [..., C (i), C (j)]; 0 where j > i.

    The sums are products with a constant that adds up what lies between i and j, and nothing else: differences of
    running sums would lose small decays that follow strong ones. The result is the largest tensor of a chunked form:
    forward and backward make two fewer of its size than autograd would.
    """

    @staticmethod
    def forward(ctx: Any, log_decay: Tensor) -> Tensor:
        size = log_decay.shape[-1]
        until = log_decay.new_ones(size, size).tril()  # [i, s]: s <= i
        between = (until[:, None] * (1 - until)).flatten(0, 1)  # [i j, s]
        later = log_decay.new_full((size, size), -torch.inf).triu(1)  # [i, j]: j > i
        with torch.autocast(log_decay.device.type, enabled=False):  # sums in bfloat16 would be worth nothing
            sums = linear(log_decay, between / math.log(2), later.flatten())
        decay = sums.exp2_().unflatten(-1, (size, size))  # exp takes ten times as long where it gives 0
        ctx.save_for_backward(decay, between)
        return decay

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        decay, between = ctx.saved_tensors
        with torch.autocast(decay.device.type, enabled=False):
            return (gradient * decay).flatten(-2) @ between
