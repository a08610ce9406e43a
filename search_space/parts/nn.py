"""Small layers that the mixers and the models around them share.

Shapes: B sequences, T tokens, C channels, W width of a convolution.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kernels import rms_norm, short_convolution, short_convolution_step
from search_space.checks import count

TIME_STEPS = 1e-3, 1e-1
OPEN = 1.28
"""Where silu is 1."""


class RMSNorm(nn.Module):
    """Root-mean-square norm (1910.07467) of the last dimension, with an optional SiLU gate on its output.

    Args:
        size: elements that are normalised together.
        eps: keeps a row of zeros finite.

    Attributes:
        gate_bias: see `OutputGate`.
    """

    def __init__(self, size: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.gate_bias = 0.0
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Norm of x [..., size], times silu(gate [..., size]) if there is a gate."""
        if gate is not None and self.gate_bias:
            gate = gate + self.gate_bias
        return rms_norm(x, self.weight, gate, eps=self.eps)


class OutputGate(nn.Module):
    """What a mixer's output is multiplied by: silu(x), or another activation.

    Args:
        activation: of x.

    Attributes:
        gate_bias: a constant that is added to x. It is 0 as published, and OPEN where a proxy starts with open gates.
    """

    def __init__(self, activation: Callable[[Tensor], Tensor] = F.silu):
        super().__init__()
        self.activation = activation
        self.gate_bias = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """x [...] -> [...]."""
        return self.activation(x + self.gate_bias if self.gate_bias else x)


class ShortConvolution(nn.Module):
    """Causal depthwise convolution over the last W tokens.

    Args:
        channels: C.
        width: W, tokens that an output sees, itself included; 0 means no convolution at all.
        activation: whether SiLU follows.
        bias: whether each channel has a bias; without a convolution there is none.

    Raises:
        InputError: `width` is no such number; the key is "conv", the option's name in every mixer.
    """

    def __init__(self, channels: int, width: int, activation: bool, bias: bool = False):
        super().__init__()
        count("conv", width)
        self.channels, self.width, self.activation = channels, width, activation
        self.cached = max(width - 1, 0)
        if width:
            bound = width**-0.5
            # In the layout of nn.Conv1d, which also tells it from the matrices whose products count as FLOPs.
            self.weight = nn.Parameter(torch.empty(channels, 1, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound)) if width and bias else None

    def initial_cache(self, like: Tensor, batch: int) -> Tensor:
        """Cache [B, W - 1, C] before the first token, with the device and dtype of `like`."""
        return like.new_zeros(batch, self.cached, self.channels)

    def forward(self, x: Tensor, cache: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Convolves x [B, T, C], continuing from the last W - 1 inputs; returns output and new cache."""
        if not self.width:
            return F.silu(x) if self.activation else x, x[:, :0]
        weight = self.weight.squeeze(1)
        return short_convolution(x, weight, bias=self.bias, activation=self.activation, initial_state=cache)

    def step(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """Same for a single token x [B, C]."""
        if not self.width:
            return F.silu(x) if self.activation else x, cache
        weight = self.weight.squeeze(1)
        return short_convolution_step(x, weight, cache, bias=self.bias, activation=self.activation)


class BlockLinear(nn.Module):
    """A block-diagonal map with bias: each of N blocks of the input is mapped by itself.

    Args:
        blocks: N.
        inputs: of each block.
        outputs: of each block.
    """

    def __init__(self, blocks: int, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(blocks, inputs, outputs) * inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(blocks, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """x [..., N inputs] -> [..., N, outputs]."""
        x = x.unflatten(-1, (self.weight.shape[0], -1))
        return torch.einsum("...ni,nio->...no", x, self.weight) + self.bias


def unit_length(x: Tensor, eps: float = 1e-6) -> Tensor:
    """x [..., K] scaled to length 1 in its last dimension."""
    scale = (x.square().sum(-1, keepdim=True) + eps).rsqrt()
    return x * scale.to(x.dtype)  # which autocast makes float32


def step_bias(size: int) -> Tensor:
    """Initial biases of time steps as Mamba has them, [size]: softplus of them is log-uniform in TIME_STEPS."""
    step = torch.empty(size).uniform_(*map(math.log, TIME_STEPS)).exp()
    return step.expm1().log()


def open_gates(part: nn.Module) -> None:
    """Lets the gates of a part's outputs start at about 1, where silu would start near 0 with either sign."""
    for module in part.modules():
        if isinstance(module, RMSNorm | OutputGate):
            module.gate_bias = OPEN


@torch.no_grad()
def enlarge_steps(bias: nn.Parameter, log_rate: nn.Parameter, factor: float) -> None:
    """Makes the time steps softplus(bias) so many times larger, and rates as much smaller: the decay stays the same."""
    bias.copy_((F.softplus(bias) * factor).expm1().log())
    log_rate.sub_(math.log(factor))
