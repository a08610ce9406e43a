"""The inverse of unit lower-triangular matrices, many small ones at once.

Shapes: C size of a matrix, a power of two; "..." any number of matrices.
"""

from typing import Any

import torch
from torch import Tensor

BASE = 4
"""Blocks of this size are inverted by their (short, exact) power series."""


def unit_triangular_inverse(strict: Tensor) -> Tensor:
    """(I + L)^-1 for strictly lower-triangular L [..., C, C], with C a power of two, 4 at least.

    Diagonal blocks are inverted first, then pairs of blocks are joined until one is left:
    [[A, 0], [B, D]]^-1 = [[A^-1, 0], [-D^-1 B A^-1, D^-1]]. That is as stable as substitution, and nothing but matrix
    products. The power series of the whole matrix is not stable: its powers explode when keys repeat.
    """
    return _Inverse.apply(strict)


class _Inverse(torch.autograd.Function):
    """d(M^-1) = -M^-1 dM M^-1, so the gradient of L is -(M^-T G M^-T)."""

    @staticmethod
    def forward(ctx: Any, strict: Tensor) -> Tensor:
        inverse = _invert(strict)
        ctx.save_for_backward(inverse)
        return inverse

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (inverse,) = ctx.saved_tensors
        return -(inverse.mT @ gradients[0] @ inverse.mT).tril(-1)


def _invert(strict: Tensor) -> Tensor:
    size = strict.shape[-1]
    blocks = _diagonal_blocks(strict, BASE)  # [..., C / 4, 4, 4]
    identity = torch.eye(BASE, dtype=strict.dtype, device=strict.device)
    inverse = (identity - blocks) @ (identity + blocks @ blocks)
    width = BASE
    while width < size:
        below = _diagonal_blocks(strict, 2 * width)[..., width:, :width]
        first, second = inverse[..., 0::2, :, :], inverse[..., 1::2, :, :]
        joined = strict.new_zeros(*first.shape[:-2], 2 * width, 2 * width)
        joined[..., :width, :width], joined[..., width:, width:] = first, second
        joined[..., width:, :width] = -(second @ below @ first)
        inverse, width = joined, 2 * width
    return inverse[..., 0, :, :]


def _diagonal_blocks(x: Tensor, width: int) -> Tensor:
    """x [..., C, C] -> [..., C / width, width, width]."""
    count = x.shape[-1] // width
    return x.unflatten(-1, (count, width)).unflatten(-3, (count, width)).diagonal(dim1=-4, dim2=-2).movedim(-1, -3)
