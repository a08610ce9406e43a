"""The three Hyena operators of StripedHyena 2."""

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from kernels import (
    gated_scan,
    gated_scan_step,
    long_convolution,
    long_convolution_step,
    short_convolution,
    short_convolution_step,
)
from search_space.checks import positive
from search_space.errors import InputError
from search_space.parts.base import Dims, Mixer, PartCost, Scaling, State
from search_space.parts.matrix_state import CHUNK
from search_space.parts.nn import ShortConvolution

GROUP = 16
"""Channels that share a filter."""
WEAKEST, STRONGEST = -2.0, 2.0
"""Of the rates at which MR's filters fade, as powers of ten."""
SCALE = 1e-5
"""Of MR's initial filters."""
RATES = 0.01, 0.1
BLOCK = 512
"""Tokens that LI scans at once: their states, C N elements a token, are in memory together."""


class Hyena(Mixer):
    """The frame of the Hyena operators (2503.01868; 2302.10866): y = W_o (x1 * (h (*) (x2 * v))) + b.

    [x1, x2, v] = conv(W_i x), depthwise without bias or activation, and (*) is a causal convolution.

    Args:
        dims: sizes of the model.
        conv: width of the short convolution ahead; 0 means none.
    """

    family = "convolution"

    source = "Systems and Algorithms for Convolutional Multi-Hybrid Language Models at Scale (arXiv 2503.01868)"
    family = "convolution"

    def __init__(self, dims: Dims, conv: int):
        super().__init__()
        self.channels = dims.width
        self.input = nn.Linear(dims.width, 3 * dims.width, bias=False)
        self.conv = ShortConvolution(3 * dims.width, conv, activation=False)
        self.output = nn.Linear(dims.width, dims.width)

    @abstractmethod
    def filter(self, u: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        """h (*) u for u [B, T, C], going on from `memory`, and what to remember."""

    @abstractmethod
    def filter_step(self, u: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The same for a single token u [B, C]."""

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D]; see `Mixer.forward`."""
        state = state or {}
        features, conv = self.conv(self.input(x), state.get("conv"))
        x1, x2, v = features.chunk(3, -1)
        filtered, memory = self.filter(x2 * v, state.get("memory"))
        return self.output(x1 * filtered), {"memory": memory, "conv": conv}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        features, conv = self.conv.step(self.input(x), state["conv"])
        x1, x2, v = features.chunk(3, -1)
        filtered, memory = self.filter_step(x2 * v, state["memory"])
        return self.output(x1 * filtered), {"memory": memory, "conv": conv}

    def _cost(self, *, remembered: int, decode: float, prefill: float, state: int = 0) -> PartCost:
        """That of the frame, two products with gates included, and of the filter: elements and FLOPs a channel."""
        return PartCost(
            **self.weights(),
            state_elements=state * self.channels,
            conv_elements=self.conv.cached * self.conv.channels + remembered * self.channels,
            decode_flops=(decode + 2) * self.channels,
            prefill_flops=(prefill + 2) * self.channels,
        )


class ExplicitHyena(Hyena):
    """A `Hyena` whose filters are parameters, one for each group of 16 channels, or fewer where 16 divide no width."""

    def __init__(self, dims: Dims, *, length: int, conv: int):
        super().__init__(dims, conv)
        if positive("length", length) < 2:
            raise InputError("length", length, "a filter of 2 taps at least")
        self.length, width = length, dims.width
        self.groups = next(count for count in range(-(-width // GROUP), width + 1) if width % count == 0)

    def initial_state(self, batch: int) -> State:
        """No inputs yet."""
        weight = self.input.weight
        memory = weight.new_zeros(batch, self.length - 1, self.channels)
        return {"memory": memory, "conv": self.conv.initial_cache(weight, batch)}


class HyenaSE(ExplicitHyena):
    """Hyena with short explicit filters (2503.01868): it sees the last few tokens and no more.

    y = W_o (x1 * (h (*) (x2 * v))) + b with a filter h of 7 taps for each 16 channels and [x1, x2, v] = conv(W_i x).
    It needs partners that see further back. Filters start uniform within length^-1/2, like other convolutions here;
    the paper does not say.

    Args:
        dims: sizes of the model.
        length: taps of a filter.
        conv: width of the short convolution over x1, x2 and v; 0 means none.

    Raises:
        InputError: a length below 2, or none.
    """

    def __init__(self, dims: Dims, *, length: int = 7, conv: int = 3):
        super().__init__(dims, length=length, conv=conv)
        bound = self.length**-0.5
        self.taps = nn.Parameter(torch.empty(self.groups, 1, self.length).uniform_(-bound, bound))

    def filter(self, u: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        """So few taps are summed directly."""
        return short_convolution(u, self._by_channel(), initial_state=memory)

    def filter_step(self, u: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Likewise."""
        return short_convolution_step(u, self._by_channel(), memory)

    def _by_channel(self) -> Tensor:
        return self.taps.squeeze(1).flip(1).repeat_interleave(self.channels // self.groups, 0)

    def cost(self) -> PartCost:
        """The taps, and the inputs that they wait for."""
        flops = 2.0 * self.length
        return self._cost(remembered=self.length - 1, decode=flops, prefill=flops)


class HyenaMR(ExplicitHyena):
    """Hyena with explicit filters of medium length (2503.01868): it sees the last 128 tokens.

    y = W_o (x1 * (h (*) u + D * u)) + b with u = x2 * v, [x1, x2, v] = conv(W_i x), and a filter h for each 16
    channels: h_t = p_t exp(-r t / (length - 1)), whose p is learned and starts near zero, 1e-5 / length^1/2 times
    normal. The rates r are fixed, log-spaced over the groups from 10^-2 to 10^2 (the "weak" ones of Evo 2 7B). D starts
    normal, as in Hyena (2302.10866).

    Args:
        dims: sizes of the model.
        length: taps of a filter.
        conv: width of the short convolution over x1, x2 and v; 0 means none.

    Raises:
        InputError: a length below 2, or none.
    """

    scaled = {"length": Scaling.FILTER}
    fading: Tensor

    def __init__(self, dims: Dims, *, length: int = 128, conv: int = 3):
        super().__init__(dims, length=length, conv=conv)
        self.taps = nn.Parameter(SCALE * torch.randn(self.groups, 1, self.length) / math.sqrt(self.length))
        self.skip = nn.Parameter(torch.randn(self.channels))
        rates = torch.logspace(WEAKEST, STRONGEST, self.groups)
        fading = torch.exp(-rates[:, None] * torch.linspace(0, 1, self.length))
        self.register_buffer("fading", fading, persistent=False)

    def filter(self, u: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        """With D."""
        y, memory = long_convolution(u, self.taps.squeeze(1) * self.fading, initial_state=memory)
        return y + (self.skip * u).to(y.dtype), memory

    def filter_step(self, u: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """With D."""
        y, memory = long_convolution_step(u, self.taps.squeeze(1) * self.fading, memory)
        return y + (self.skip * u).to(y.dtype), memory

    def cost(self) -> PartCost:
        """The taps, and the inputs that they wait for; in blocks of a prompt, each output meets all taps of a block."""
        return self._cost(
            remembered=self.length - 1, decode=2.0 * self.length + 2, prefill=2.0 * (self.length + CHUNK - 1) + 2
        )


class HyenaLI(Hyena):
    """Hyena with long implicit filters (2503.01868; modal form of 2310.18780): it sees all tokens before.

    y = W_o (x1 * (h (*) u + D * u)) + b with u = x2 * v and [x1, x2, v] = conv(W_i x). The filter of each channel is a
    sum of N decays, h_t = sum_i R_i exp(-e^(p_i + g_i) t), so that the convolution is a recurrence with N elements of
    state, s_i <- exp(-e^(p_i + g_i)) s_i + u, and is computed as one. p, g and R are learned: p starts at -1, e^g
    uniform in [.01, .1], R .1 / N^1/2 times normal, and D normal, as in Hyena (2302.10866).

    Args:
        dims: sizes of the model.
        key_size: N, decays in the sum of a channel.
        conv: width of the short convolution over x1, x2 and v; 0 means none.

    Raises:
        InputError: a size that is not a positive integer.
    """

    scaled = {"key_size": Scaling.HEAD_SIZE}

    def __init__(self, dims: Dims, *, key_size: int = 16, conv: int = 3):
        super().__init__(dims, conv)
        self.key_size = positive("key_size", key_size)
        size = self.channels * key_size
        # Vectors, [channels key_size]: neither weight decay nor a count of products is to take them for matrices.
        self.log_rate = nn.Parameter(-torch.ones(size))
        self.log_step = nn.Parameter(torch.empty(size).uniform_(*RATES).log())
        self.residue = nn.Parameter(0.1 * key_size**-0.5 * torch.randn(size))
        self.skip = nn.Parameter(torch.randn(self.channels))

    def filter(self, u: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        """As a recurrence, in blocks of tokens."""
        outputs, log_decay = [], -(self.log_rate + self.log_step).exp()
        for block in u.split(BLOCK, 1):
            entering = block.repeat_interleave(self.key_size, -1)
            h, memory = gated_scan(entering, log_decay.expand(entering.shape), initial_state=memory)
            outputs.append(self._read(h, block))
        assert memory is not None
        return torch.cat(outputs, 1), memory

    def filter_step(self, u: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """One step of it."""
        entering = u.repeat_interleave(self.key_size, -1)
        log_decay = -(self.log_rate + self.log_step).exp()
        h, memory = gated_scan_step(entering, log_decay.expand(entering.shape), memory)
        return self._read(h, u), memory

    def _read(self, h: Tensor, u: Tensor) -> Tensor:
        y = (self.residue * h).unflatten(-1, (self.channels, self.key_size)).sum(-1) + self.skip * u
        return y.to(u.dtype)

    def initial_state(self, batch: int) -> State:
        """No memory, nothing convolved yet; the memory is float32 at least."""
        weight = self.input.weight
        precision = torch.promote_types(weight.dtype, torch.float32)
        memory = weight.new_zeros(batch, self.channels * self.key_size, dtype=precision)
        return {"memory": memory, "conv": self.conv.initial_cache(weight, batch)}

    def cost(self) -> PartCost:
        """The state; a scan costs as much at once as step by step."""
        flops = 4.0 * self.key_size + 2
        return self._cost(remembered=0, decode=flops, prefill=flops, state=self.key_size)
