"""The long causal convolution as products with Toeplitz matrices (2503.01868).

A block of L outputs sees L + W - 1 inputs, and all channels of a group in all blocks and sequences meet the same matrix
M_{i,j} = h_{W - 1 + i - j}: nothing but matrix products, in which a share (L - 1) / (L + W - 1) multiplies zeros.

Shapes: B sequences, T tokens, C channels in G groups of S, W taps, N blocks of L tokens.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

BLOCK = 64


def long_convolution(x: Tensor, filters: Tensor, past: Tensor) -> Tensor:
    """x [B, T, C], filters [G, W], past [B, W - 1, C] -> y [B, T, C]."""
    length, (groups, width) = x.shape[1], filters.shape
    block = min(BLOCK, length)
    inputs = pad(torch.cat([past, x], 1), (0, 0, 0, -length % block))
    windows = inputs.unfold(1, block + width - 1, block).unflatten(2, (groups, -1))  # [B, N, G, S, L + W - 1]
    y = torch.einsum("bngsj,gij->bnigs", windows, toeplitz(filters, block))
    return y.flatten(3).flatten(1, 2)[:, :length]


def toeplitz(filters: Tensor, rows: int) -> Tensor:
    """M_{i,j} = h_{W - 1 + i - j}, zero where there is no such tap: filters [G, W] -> [G, rows, rows + W - 1]."""
    padded = pad(filters.flip(1), (rows - 1, rows - 1))
    return padded.unfold(1, rows + filters.shape[1] - 1, 1).flip(1)
