"""Mamba."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kernels import gated_scan, gated_scan_step
from search_space.checks import positive
from search_space.parts.base import Dims, Mixer, PartCost, Scaling, State
from search_space.parts.nn import OutputGate, ShortConvolution, enlarge_steps, step_bias

BLOCK = 512
"""Tokens that are scanned at once: their states, C N elements a token, are in memory together."""

KEY_SIZE = 16


class Mamba(Mixer):
    """Mamba (2312.00752, section 3, S6): each channel is a state of N elements, read and written as the token says.

    h_t = exp(-A dt_t) h_{t-1} + dt_t u_t B_t and y_t = B'_t . h_t + D u_t for each channel of u = silu(conv(W_u x)),
    where the token sets the keys B_t, the queries B'_t (C_t in the paper) and, for each channel, the step dt_t =
    softplus(W_2 W_1 u_t + b). The output is W_o (y * silu(W_z x)), without a norm. The convolution has a bias. Initial
    values: A = 1 .. N in each channel, softplus(b) log-uniform in [.001, .1], W_2 uniform within R^-1/2, D = 1.

    Jamba's norms of dt, B and C, and the heads of Zamba are left out.

    Args:
        dims: sizes of the model.
        channels: C; None means twice the width.
        key_size: N, elements of a channel's state.
        rank: R, of the projection that makes the steps; None means width / 16, rounded up.
        conv: width of the short convolution; 0 means none.

    Raises:
        InputError: a size that is not a positive integer.
    """

    source = "Mamba: Linear-Time Sequence Modeling with Selective State Spaces (arXiv 2312.00752)"
    family = "ssm"

    scaled = {"channels": Scaling.WIDTH, "key_size": Scaling.HEAD_SIZE}

    def __init__(
        self,
        dims: Dims,
        *,
        channels: int | None = None,
        key_size: int = KEY_SIZE,
        rank: int | None = None,
        conv: int = 4,
    ):
        super().__init__()
        self.channels = 2 * dims.width if channels is None else positive("channels", channels)
        self.key_size = positive("key_size", key_size)
        self.rank = math.ceil(dims.width / 16) if rank is None else positive("rank", rank)
        self.input = nn.Linear(dims.width, 2 * self.channels, bias=False)
        self.conv = ShortConvolution(self.channels, conv, activation=True, bias=True)
        self.selection = nn.Linear(self.channels, self.rank + 2 * key_size, bias=False)
        self.time_step = nn.Linear(self.rank, self.channels, bias=False)
        nn.init.uniform_(self.time_step.weight, -(self.rank**-0.5), self.rank**-0.5)
        self.step_bias = nn.Parameter(step_bias(self.channels))
        # A vector, [channels key_size]: neither weight decay nor a count of products is to take it for a matrix.
        self.log_rate = nn.Parameter(torch.arange(1.0, key_size + 1).log().repeat(self.channels))
        self.skip = nn.Parameter(torch.ones(self.channels))
        self.output_gate = OutputGate()
        self.output = nn.Linear(self.channels, dims.width, bias=False)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D]; see `Mixer.forward`."""
        state = state or {}
        u, gate = self.input(x).chunk(2, -1)
        u, conv = self.conv(u, state.get("conv"))
        outputs, memory = [], state.get("memory")
        for block in u.split(BLOCK, 1):
            entering, log_decay, query = self._recurrence(block)
            h, memory = gated_scan(entering, log_decay, initial_state=memory)
            outputs.append(self._read(h, query, block))
        return self.output(torch.cat(outputs, 1) * self.output_gate(gate)), {"memory": memory, "conv": conv}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        u, gate = self.input(x).chunk(2, -1)
        u, conv = self.conv.step(u, state["conv"])
        entering, log_decay, query = self._recurrence(u)
        h, memory = gated_scan_step(entering, log_decay, state["memory"])
        return self.output(self._read(h, query, u) * self.output_gate(gate)), {"memory": memory, "conv": conv}

    def _recurrence(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What enters the state and its log decay, [..., channels key_size], and the queries [..., key_size]."""
        low, key, query = self.selection(u).split([self.rank, self.key_size, self.key_size], -1)
        step = F.softplus(self.time_step(low) + self.step_bias)  # autocast leaves the sum in float32
        rate = self.log_rate.exp().unflatten(0, (self.channels, self.key_size))
        entering = (step * u)[..., None] * key[..., None, :]
        return entering.flatten(-2), -(step[..., None] * rate).flatten(-2), query

    def _read(self, h: Tensor, query: Tensor, u: Tensor) -> Tensor:
        """Outputs of the channels, [..., channels]."""
        h = h.unflatten(-1, (self.channels, self.key_size))
        return (h * query[..., None, :]).sum(-1) + self.skip * u

    def initial_state(self, batch: int) -> State:
        """No memory, nothing convolved yet; the memory is float32 at least."""
        weight = self.input.weight
        precision = torch.promote_types(weight.dtype, torch.float32)
        memory = weight.new_zeros(batch, self.channels * self.key_size, dtype=precision)
        return {"memory": memory, "conv": self.conv.initial_cache(weight, batch)}

    def open_gates(self) -> None:
        """And steps that are larger as keys are smaller than published: see `Mamba2.open_gates`."""
        super().open_gates()
        enlarge_steps(self.step_bias, self.log_rate, KEY_SIZE / self.key_size)

    def cost(self) -> PartCost:
        """The state; a scan costs as much at once as step by step."""
        elements = self.channels * self.key_size
        flops = 9.0 * elements + 2.0 * self.channels
        return PartCost(
            **self.weights(),
            state_elements=elements,
            conv_elements=self.conv.cached * self.conv.channels,
            decode_flops=flops,
            prefill_flops=flops,
        )
