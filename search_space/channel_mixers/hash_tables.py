"""Hash tables in place of projections.

Shapes: "..." is B, T (in a step: B), D model width, C chunks, b bits of a hash.
"""

import torch
from torch import Tensor, nn

from search_space.checks import positive
from search_space.errors import InputError
from search_space.parts.base import ChannelMixer, Dims, Experts, PartCost
from search_space.parts.nn import RMSNorm

MOST_BITS = 16


class HashTables(ChannelMixer):
    """The feed-forward part of MemoryFormer (2411.12992, section 3): two layers that look up instead of multiply.

    A layer cuts its input into chunks z of b channels. The signs of a chunk are the number of a row of its table, and
    the output is the sum of these rows over chunks, each times p(z) = prod_i sigmoid(2 |z_i| / t), with t learnt: how
    sure the signs are. Gradients reach the input through p alone. The hidden layer has b + `growth` channels for each
    chunk, so that the second hashes with as many bits more, and an RMS norm stands between the two.

    Almost no FLOPs and much memory: tables of 2^b rows, of which a token reads one of each. No code was published;
    the form of p, the norm and the initial values (rows of standard deviation .02) are as we read it (unverified).

    Args:
        dims: sizes of the model.
        bits: b, a divisor of the width.
        growth: further bits of the second layer.

    Raises:
        InputError: bits that do not divide the width, or so many that tables have no bounds.
    """

    source = "MemoryFormer: Minimize Transformer Computation by Removing Fully-Connected Layers (arXiv 2411.12992)"

    def __init__(self, dims: Dims, *, bits: int = 8, growth: int = 2):
        super().__init__()
        if dims.width % positive("bits", bits, MOST_BITS):
            raise InputError("bits", bits, f"a divisor of {dims.width}")
        chunks, wide = dims.width // bits, bits + positive("growth", growth, MOST_BITS - bits)
        self.input = HashLayer(chunks, bits, chunks * wide)
        self.norm = RMSNorm(chunks * wide)
        self.output = HashLayer(chunks, wide, dims.width)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [..., D] to [..., D]."""
        return self.output(self.norm(self.input(x)))

    def zero_output(self) -> None:
        """Zeroes the rows of the second layer."""
        nn.init.zeros_(self.output.tables)

    def cost(self) -> PartCost:
        """Hashes, and the sums of rows; a step reads the rows that its batch finds."""
        layers = (self.input, self.output)
        flops = float(sum(layer.flops for layer in layers))
        return PartCost(
            **self.weights(),
            decode_flops=flops,
            prefill_flops=flops,
            experts=tuple(Experts(count=each.rows, used=1, parameters=each.tables[:, 0].numel()) for each in layers),
        )


class HashLayer(nn.Module):
    """Sums rows of tables, found by the signs of chunks of the input.

    Args:
        chunks: C.
        bits: b, channels of a chunk.
        outputs: elements of a row.
    """

    def __init__(self, chunks: int, bits: int, outputs: int):
        super().__init__()
        self.chunks, self.bits, self.rows = chunks, bits, 2**bits
        self.tables = nn.Parameter(0.02 * torch.randn(chunks, self.rows, outputs))
        self.log_temperature = nn.Parameter(torch.zeros(1))

    @property
    def flops(self) -> int:
        """Of a token: five an element for its sureness, two for each element of a row."""
        return self.chunks * (5 * self.bits + 2 * self.tables.shape[-1])

    def forward(self, x: Tensor) -> Tensor:
        """x [..., C b] -> [..., outputs]."""
        z = x.unflatten(-1, (self.chunks, self.bits))
        row = ((z > 0) * 2 ** torch.arange(self.bits, device=x.device)).sum(-1)
        sure = (2 * z.abs() * (-self.log_temperature).exp()).sigmoid().prod(-1, keepdim=True)
        return (self.tables[torch.arange(self.chunks, device=x.device), row] * sure).sum(-2)
