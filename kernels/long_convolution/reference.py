"""The long causal convolution, one token at a time."""

import torch
from torch import Tensor


def long_convolution(x: Tensor, filters: Tensor, past: Tensor) -> Tensor:
    """x [B, T, C], filters [G, W], past [B, W - 1, C] -> y [B, T, C]."""
    inputs, width = torch.cat([past, x], 1), filters.shape[1]
    taps = filters.repeat_interleave(x.shape[2] // filters.shape[0], 0).T  # [W, C]
    outputs = []
    for t in range(x.shape[1]):
        latest_first = inputs[:, t : t + width].flip(1)
        outputs.append((taps * latest_first).sum(1))
    return torch.stack(outputs, 1)
