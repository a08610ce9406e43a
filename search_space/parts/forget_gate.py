"""The forget gate of HGRN and HGRN2, with lower bounds that rise over depth."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ForgetGate(nn.Module):
    """f = b + (1 - b) sigmoid(x) with a learned lower bound b (2311.04823, section 3.3; 2404.07904).

    All L layers of a model that are built alike share a table [L, size] of logits, zero at the start: its softmax over
    layers, summed over the layers below, gives the bound b of each layer. It rises from 0 in the first of them by 1/L
    a layer, and no deeper layer can forget faster than a shallower one.

    Args:
        size: elements that are gated.
    """

    def __init__(self, size: int):
        super().__init__()
        self.bounds = nn.Parameter(torch.zeros(1, size))
        self.row = 0

    @staticmethod
    def share(gates: Sequence["ForgetGate"]) -> None:
        """Ties the gates of a model's layers, first layer first."""
        table = nn.Parameter(gates[0].bounds.new_zeros(len(gates), gates[0].bounds.shape[1]))
        for row, gate in enumerate(gates):
            gate.bounds, gate.row = table, row

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """1 - f and log f, from x [..., size]."""
        if not self.row:
            return torch.sigmoid(-x), F.logsigmoid(x)
        bound = self.bounds.softmax(0)[: self.row].sum(0)
        return (1 - bound) * torch.sigmoid(-x), torch.logaddexp(F.logsigmoid(x), bound.log() + F.logsigmoid(-x))
