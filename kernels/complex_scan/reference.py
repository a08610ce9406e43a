"""Sums of complex modes, one token at a time, in real arithmetic."""

import torch
from torch import Tensor


def complex_scan(
    x: Tensor, write: Tensor, log_decay: Tensor, angle: Tensor, read: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """x [B, T, C], write, log_decay, angle [C, N], read [C, N, 2], state [B, C, N, 2] -> y [B, T, C], state."""
    keep, outputs = log_decay.exp(), []
    turn_real, turn_imaginary = keep * angle.cos(), keep * angle.sin()
    for token in x.unbind(1):
        real, imaginary = state.unbind(-1)
        new_real = turn_real * real - turn_imaginary * imaginary + write * token[..., None]
        new_imaginary = turn_real * imaginary + turn_imaginary * real
        state = torch.stack([new_real, new_imaginary], -1)
        outputs.append((read[..., 0] * new_real - read[..., 1] * new_imaginary).sum(-1))
    return torch.stack(outputs, 1), state
