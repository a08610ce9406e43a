"""The gated recurrence, one token at a time."""

import torch
from torch import Tensor


def gated_scan(x: Tensor, log_decay: Tensor, state: Tensor) -> Tensor:
    """x, log_decay [B, T, D], state [B, D] -> h [B, T, D]."""
    outputs = []
    for entering, decay in zip(x.unbind(1), log_decay.exp().unbind(1), strict=True):
        state = decay * state + entering
        outputs.append(state)
    return torch.stack(outputs, 1)
