"""Small layers that the mixers and the models around them share.

Shapes: B sequences, T tokens, C channels, H heads, K head size, W width of a convolution.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.errors import InputError


class RMSNorm(nn.RMSNorm):
    """Root-mean-square norm (1910.07467) of the last dimension, with an optional SiLU gate on its output.

    Args:
        size: elements that are normalised together.
    """

    def __init__(self, size: int, eps: float = 1e-5):
        super().__init__(size, eps)

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Norm of x [..., size], times silu(gate [..., size]) if there is a gate."""
        normal = super().forward(x)
        return normal if gate is None else normal * F.silu(gate)


class ShortConvolution(nn.Module):
    """Causal depthwise convolution over the last W tokens, without bias.

    Args:
        channels: C.
        width: W, tokens that an output sees, itself included; 0 means no convolution at all.
        activation: whether SiLU follows.

    Raises:
        InputError: `width` is no such number; the key is "conv", the option's name in every mixer.
    """

    def __init__(self, channels: int, width: int, activation: bool):
        super().__init__()
        if isinstance(width, bool) or not isinstance(width, int) or width < 0:
            raise InputError("conv", width, "the width of a convolution, or 0 for none")
        self.channels, self.width, self.activation = channels, width, activation
        self.cached = max(width - 1, 0)
        if width:
            bound = width**-0.5
            self.weight = nn.Parameter(torch.empty(channels, 1, width).uniform_(-bound, bound))

    def initial_cache(self, like: Tensor, batch: int) -> Tensor:
        """Cache [B, W - 1, C] before the first token, with the device and dtype of `like`."""
        return like.new_zeros(batch, self.cached, self.channels)

    def forward(self, x: Tensor, cache: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Convolves x [B, T, C], continuing from the last W - 1 inputs; returns output and new cache."""
        past = self.initial_cache(x, x.shape[0]) if cache is None else cache
        inputs = torch.cat([past, x], 1) if self.cached else x
        if self.width:
            # In two dimensions, because torch has a fast channels-last kernel there: half the time on a CPU.
            image = inputs.transpose(1, 2).unsqueeze(2)
            x = F.conv2d(image, self.weight.unsqueeze(2), groups=self.channels).squeeze(2).transpose(1, 2)
        return F.silu(x) if self.activation else x, inputs[:, inputs.shape[1] - self.cached :]

    def step(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """Same for a single token x [B, C]."""
        inputs = torch.cat([cache, x.unsqueeze(1)], 1)
        if self.width:
            x = (inputs * self.weight[:, 0].T).sum(1)
        return F.silu(x) if self.activation else x, inputs[:, inputs.shape[1] - self.cached :]


def rotary(x: Tensor, position: int, theta: float) -> Tensor:
    """Rotary position embedding (2104.09864) in the half-split layout: pairs are elements i and i + K/2.

    Args:
        x: [B, T, H, K], whose first token stands at `position`, or [B, H, K], a single token at `position`.
        position: place in the sequence, from 0 on.
        theta: base of the wavelengths; pair i turns by theta^(-2i/K) a token.
    """
    half, length = x.shape[-1] // 2, x.shape[1] if x.dim() == 4 else 1
    places = torch.arange(position, position + length, device=x.device, dtype=torch.float32)
    exponents = torch.arange(half, device=x.device, dtype=torch.float32) / -half
    angles = places[:, None, None] * theta**exponents
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return x * torch.cat([cos, cos], -1) + x.roll(half, -1) * torch.cat([-sin, sin], -1)


def unit_length(x: Tensor, eps: float = 1e-6) -> Tensor:
    """x [..., K] scaled to length 1 in its last dimension."""
    return x * (x.square().sum(-1, keepdim=True) + eps).rsqrt()


class SwiGLU(nn.Module):
    """Feed-forward layer W_2 (silu(W_1 x) * W_3 x) of 2002.05202, without biases.

    Args:
        width: size of input and output.
        hidden: inner size.
    """

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.input = nn.Linear(width, 2 * hidden, bias=False)
        self.output = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [..., width] to [..., width]."""
        gate, value = self.input(x).chunk(2, -1)
        return self.output(F.silu(gate) * value)
