"""The gated recurrence, one token at a time."""

import torch
from torch import Tensor


def gated_scan(x: Tensor, log_decay: Tensor, state: Tensor) -> Tensor:
    """x, log_decay [B, T, D], state [B, D] -> h [B, T, D]."""
    outputs = []
    for t in range(x.shape[1]):
        state = log_decay[:, t].exp() * state + x[:, t]
        outputs.append(state)
    return torch.stack(outputs, 1)
