"""The gated recurrence in one pass over time, in place: on a CPU faster than any scan that saves passes.

Shapes: B sequences, T tokens, D elements; [T, B, D] inside, so that a token is one piece of memory.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def gated_scan(x: Tensor, log_decay: Tensor, state: Tensor) -> Tensor:
    """x, log_decay [B, T, D], state [B, D] -> h [B, T, D]."""
    return _Scan.apply(x, log_decay.exp(), state)


class _Scan(torch.autograd.Function):
    """Its gradient is the same pass from the end: dx_t = dh_t + a_{t+1} dx_{t+1}, da_t = dx_t h_{t-1}."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, decay: Tensor, state: Tensor) -> Tensor:
        h, decay = (y.transpose(0, 1).clone(memory_format=torch.contiguous_format) for y in (x, decay))
        before = state
        for now, factor in zip(h.unbind(0), decay.unbind(0), strict=True):
            before = now.addcmul_(factor, before)
        ctx.save_for_backward(h, decay, state)
        return h.transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h, decay, state = ctx.saved_tensors
        into_x = gradient.transpose(0, 1).clone(memory_format=torch.contiguous_format)
        tokens, factors = into_x.unbind(0), decay.unbind(0)
        for t in range(len(tokens) - 2, -1, -1):
            tokens[t].addcmul_(factors[t + 1], tokens[t + 1])
        into_decay = into_x * torch.cat([state[None], h[:-1]])
        return into_x.transpose(0, 1), into_decay.transpose(0, 1), into_x[0] * decay[0]
