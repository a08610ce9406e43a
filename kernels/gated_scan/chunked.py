"""The gated recurrence by doubling (Hillis and Steele 1986): log2(T) passes over whole sequences.

Every factor is a product of decays, so nothing can overflow. Shapes: B sequences, T tokens, D elements.
"""

from typing import Any

import torch
from torch import Tensor


def gated_scan(x: Tensor, log_decay: Tensor, state: Tensor) -> Tensor:
    """x, log_decay [B, T, D], state [B, D] -> h [B, T, D]."""
    decay = log_decay.exp()
    first = x[:, :1] + decay[:, :1] * state[:, None]
    return _Scan.apply(torch.cat([first, x[:, 1:]], 1), decay)


def _scan(x: Tensor, decay: Tensor) -> Tensor:
    """h_t = decay_t h_{t-1} + x_t from h_{-1} = 0, along dimension 1."""
    h, factor, reach = x.clone(), decay.clone(), 1
    while reach < x.shape[1]:
        h[:, reach:] += factor[:, reach:] * h[:, :-reach].clone()
        factor[:, reach:] *= factor[:, :-reach].clone()
        reach *= 2
    return h


class _Scan(torch.autograd.Function):
    """Its gradient is the same scan from the end: dx_t = dh_t + a_{t+1} dx_{t+1}, da_t = dx_t h_{t-1}."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, decay: Tensor) -> Tensor:
        h = _scan(x, decay)
        ctx.save_for_backward(h, decay)
        return h

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        h, decay = ctx.saved_tensors
        (gradient,) = gradients
        following = torch.cat([decay[:, 1:], torch.zeros_like(decay[:, :1])], 1)
        into_x = _scan(gradient.flip(1), following.flip(1)).flip(1)
        into_decay = torch.cat([torch.zeros_like(h[:, :1]), into_x[:, 1:] * h[:, :-1]], 1)
        return into_x, into_decay
