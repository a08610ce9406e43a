"""The recurrent block of Griffin, with its RG-LRU."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kernels import gated_scan, gated_scan_step
from search_space.checks import positive
from search_space.parts.base import Dims, Mixer, PartCost, Scaling, State
from search_space.parts.nn import BlockLinear, OutputGate, ShortConvolution

SHARPNESS = 8.0
RADII = 0.9, 0.999
STEEPEST = 1e3
"""Largest derivative of the square root that is passed back."""


class RGLRU(Mixer):
    """The recurrent block of Griffin (2402.19427, section 2.4) around a real-gated linear recurrent unit.

    h_t = a_t h_{t-1} + sqrt(1 - a_t^2) (i_t u_t) for each element of u = conv(W_u x + b), a convolution with bias and
    without activation. The gates r and i are sigmoids of block-diagonal maps of u, and log a_t = -8 softplus(L) r_t.
    The output is W_o (h * gelu(W_y x + b)) + b. The first token enters whole, not times sqrt(1 - a^2).

    Initial values are those of RecurrentGemma (2404.07839): exp(-softplus(L)) in [.9, .999], uniform in its square;
    the paper puts its eighth power there, which forgets less. Gates are normal with variance 1 / block, inputs 1 / D,
    the convolution .01 / W, the output 2 / (layers size); biases are 0.

    Args:
        dims: sizes of the model, and its depth.
        state_size: elements of the state; None means width.
        block_size: elements of a block of the gates' maps at most: there are as few equal blocks as that allows.
        conv: width of the short convolution; 0 means none.

    Raises:
        InputError: a size that is not a positive integer.
    """

    source = "Griffin: Mixing Gated Linear Recurrences with Local Attention (arXiv 2402.19427)"
    family = "vector"

    scaled = {"state_size": Scaling.WIDTH, "block_size": Scaling.WIDTH}

    def __init__(self, dims: Dims, *, state_size: int | None = None, block_size: int = 256, conv: int = 4):
        super().__init__()
        size = dims.width if state_size is None else positive("state_size", state_size)
        self.state_size, self.block_size = size, positive("block_size", block_size)
        self.input = nn.Linear(dims.width, 2 * size)
        self.conv = ShortConvolution(size, conv, activation=False, bias=True)
        blocks = next(count for count in range(-(-size // block_size), size + 1) if size % count == 0)
        self.gates = BlockLinear(blocks, size // blocks, 2 * size // blocks)
        low, high = RADII
        radius = torch.empty(size).uniform_(low**2, high**2).sqrt()
        self.log_rate = nn.Parameter((1 / radius - 1).log())  # softplus of it is -log radius
        self.output_gate = OutputGate(nn.GELU(approximate="tanh"))
        self.output = nn.Linear(size, dims.width)
        nn.init.normal_(self.input.weight, std=dims.width**-0.5)
        nn.init.normal_(self.output.weight, std=(2 / (dims.layers * size)) ** 0.5)
        if conv:
            nn.init.normal_(self.conv.weight, std=(0.01 / conv) ** 0.5)
        for bias in (self.input.bias, self.output.bias, self.conv.bias):
            if bias is not None:
                nn.init.zeros_(bias)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D]; see `Mixer.forward`."""
        state = state or {}
        position = state.get("position", 0)
        u, y = self.input(x).chunk(2, -1)
        u, conv = self.conv(u, state.get("conv"))
        whole, share, log_decay = self._recurrence(u)
        if position == 0:
            share = torch.cat([torch.ones_like(share[:, :1]), share[:, 1:]], 1)
        h, memory = gated_scan(share * whole, log_decay, initial_state=state.get("memory"))
        out = self.output(h * self.output_gate(y))
        return out, {"memory": memory, "conv": conv, "position": position + x.shape[1]}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        position = state["position"]
        u, y = self.input(x).chunk(2, -1)
        u, conv = self.conv.step(u, state["conv"])
        whole, share, log_decay = self._recurrence(u)
        h, memory = gated_scan_step(whole if position == 0 else share * whole, log_decay, state["memory"])
        out = self.output(h * self.output_gate(y))
        return out, {"memory": memory, "conv": conv, "position": position + 1}

    def _recurrence(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """i u, sqrt(1 - a^2) and log a, all [..., state_size] and float32 at least."""
        forget, enter = self.gates(u).sigmoid().chunk(2, -1)  # of each block, [..., blocks, size of a block]
        log_decay = -SHARPNESS * F.softplus(self.log_rate) * forget.flatten(-2)
        return enter.flatten(-2) * u, bounded_root(-torch.expm1(2 * log_decay)), log_decay

    def initial_state(self, batch: int) -> State:
        """No memory, nothing convolved yet; the memory is float32 at least."""
        weight = self.input.weight
        precision = torch.promote_types(weight.dtype, torch.float32)
        memory = weight.new_zeros(batch, self.state_size, dtype=precision)
        return {"memory": memory, "conv": self.conv.initial_cache(weight, batch), "position": 0}

    def cost(self) -> PartCost:
        """The state, and its gates element by element; a scan costs as much at once as step by step."""
        flops = 12.0 * self.state_size
        return PartCost(
            **self.weights(),
            state_elements=self.state_size,
            conv_elements=self.conv.cached * self.conv.channels,
            decode_flops=flops,
            prefill_flops=flops,
        )


def bounded_root(x: Tensor) -> Tensor:
    """sqrt(x), whose derivative is STEEPEST at most, in numbers that training can take."""
    slope = (4 * x).clamp(min=STEEPEST**-2).rsqrt().detach()
    return slope * x + (x.detach().sqrt() - slope * x.detach())
