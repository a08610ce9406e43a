"""Small layers that the mixers and the models around them share.

Shapes: B sequences, T tokens, C channels, W width of a convolution.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kernels import rms_norm, short_convolution, short_convolution_step
from search_space.checks import count


class RMSNorm(nn.Module):
    """Root-mean-square norm (1910.07467) of the last dimension, with an optional SiLU gate on its output.

    Args:
        size: elements that are normalised together.
        eps: keeps a row of zeros finite.
    """

    def __init__(self, size: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Norm of x [..., size], times silu(gate [..., size]) if there is a gate."""
        return rms_norm(x, self.weight, gate, eps=self.eps)


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
        count("conv", width)
        self.channels, self.width, self.activation = channels, width, activation
        self.cached = max(width - 1, 0)
        if width:
            bound = width**-0.5
            # In the layout of nn.Conv1d, which also tells it from the matrices whose products count as FLOPs.
            self.weight = nn.Parameter(torch.empty(channels, 1, width).uniform_(-bound, bound))

    def initial_cache(self, like: Tensor, batch: int) -> Tensor:
        """Cache [B, W - 1, C] before the first token, with the device and dtype of `like`."""
        return like.new_zeros(batch, self.cached, self.channels)

    def forward(self, x: Tensor, cache: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Convolves x [B, T, C], continuing from the last W - 1 inputs; returns output and new cache."""
        if not self.width:
            return F.silu(x) if self.activation else x, x[:, :0]
        return short_convolution(x, self.weight.squeeze(1), activation=self.activation, initial_state=cache)

    def step(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """Same for a single token x [B, C]."""
        if not self.width:
            return F.silu(x) if self.activation else x, cache
        return short_convolution_step(x, self.weight.squeeze(1), cache, activation=self.activation)


def unit_length(x: Tensor, eps: float = 1e-6) -> Tensor:
    """x [..., K] scaled to length 1 in its last dimension."""
    scale = (x.square().sum(-1, keepdim=True) + eps).rsqrt()
    return x * scale.to(x.dtype)  # which autocast makes float32
