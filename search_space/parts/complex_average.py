"""A moving average of each channel by complex modes: a filter as long as the sequence, with a state that is not.

Shapes: B sequences, T tokens, C channels, N modes of a channel.
"""

import math

import torch
from torch import Tensor, nn

from kernels import complex_scan
from search_space.parts.matrix_state import CHUNK

SPREAD = 0.2
"""Of the initial alpha and delta."""
FLOPS_PER_MODE = 12
"""Of a step: a complex product, what enters, and the real part of what is read."""


class ComplexAverage(nn.Module):
    """CEMA (2404.08801, section 3.1): a moving average of each channel by N complex modes, and the channel itself.

    y_t = Re sum_n g_n h_n,t / N^1/2 + w x_t with h_n,t = (1 - a_n d_n) e^(i n b) h_n,t-1 + a_n x_t, where a, d and
    b N / 2 pi are sigmoids. Initial values: a and d of normal values (.2), b log-spaced over the channels in random
    order, g normal and real, w normal (.25) within [-1, 1].

    Args:
        channels: of the input.
        modes: N.
    """

    def __init__(self, channels: int, modes: int):
        super().__init__()
        size = channels * modes
        # Vectors: neither weight decay nor a count of products is to take them for matrices.
        self.rise, self.damping = (nn.Parameter(SPREAD * torch.randn(size)) for _ in range(2))
        wave = torch.exp(-math.log(max(channels, 2)) / channels * torch.arange(1, channels + 1))
        wave = wave[torch.randperm(channels)]
        self.wave = nn.Parameter((wave / (1 - wave)).log())
        self.read = nn.Parameter(torch.cat([torch.randn(size), torch.zeros(size)]))
        self.skip = nn.Parameter(nn.init.trunc_normal_(torch.empty(channels), std=0.25, a=-1.0, b=1.0))
        self.channels, self.modes = channels, modes

    def forward(self, x: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        """x [B, T, C], what is remembered [B, C, N, 2] -> y, and the new memory."""
        rise, damping = (y.sigmoid().unflatten(0, (-1, self.modes)) for y in (self.rise, self.damping))
        numbers = torch.arange(1, self.modes + 1, device=x.device)
        angle = self.wave.sigmoid()[:, None] * (2 * math.pi / self.modes) * numbers
        read = torch.stack(self.read.chunk(2), -1).unflatten(0, (-1, self.modes)) * self.modes**-0.5
        y, memory = complex_scan(x, rise, torch.log1p(-rise * damping), angle, read, initial_state=memory)
        return y + (self.skip * x).to(y.dtype), memory

    def initial_memory(self, batch: int) -> Tensor:
        """Nothing remembered yet, float32 at least."""
        precision = torch.promote_types(self.skip.dtype, torch.float32)
        return self.skip.new_zeros(batch, self.channels, self.modes, 2, dtype=precision)

    @property
    def state_elements(self) -> int:
        """Of a sequence's memory."""
        return 2 * self.channels * self.modes

    @property
    def decode_flops(self) -> float:
        """Of a step."""
        return float((FLOPS_PER_MODE * self.modes + 2) * self.channels)

    @property
    def prefill_flops(self) -> float:
        """Of a token in a sequence."""
        return float((2 * CHUNK + 8 * self.modes + 2) * self.channels)
