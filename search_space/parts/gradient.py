"""Losses beside that of the model, as gradients of what they are made of."""

import torch
from torch import Tensor

from kernels.vmap import stackable


class _WithGradient(torch.autograd.Function):
    """Hands a tensor on, and adds to its gradient."""

    @staticmethod
    def forward(ctx, x, extra):
        ctx.save_for_backward(extra)
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return grad + ctx.saved_tensors[0], None


@stackable(outputs=None, x=None, extra=None)
def with_gradient(x: Tensor, extra: Tensor) -> Tensor:
    """x, whose gradient is larger by `extra`, of the same shape."""
    return _WithGradient.apply(x, extra)


def balanced(chances: Tensor, chosen: Tensor, weight: float) -> Tensor:
    """The same chances, whose gradient is also that of the auxiliary loss of 2101.03961, weight E sum_e f_e mean(p_e).

    Args:
        chances: p [..., E], of each of E choices.
        chosen: those that were made, [..., K]; f_e is the share of them that fell on e.
        weight: of the loss.
    """
    kinds = chances.shape[-1]
    places = torch.zeros_like(chances).scatter(-1, chosen, 1.0).reshape(-1, kinds)
    share = places.mean(0) / chosen.shape[-1]
    return with_gradient(chances, (weight * kinds / places.shape[0] * share).expand_as(chances))
