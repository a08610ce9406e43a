"""Mamba-3."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kernels import linear_attention
from search_space.checks import positive
from search_space.errors import InputError
from search_space.parts.base import Dims, Mixer, PartCost, Scaling, State
from search_space.parts.matrix_state import CHUNK
from search_space.parts.nn import OutputGate, RMSNorm, step_bias

SLOWEST = 1e-4
"""Smallest rate of decay."""


class Mamba3(Mixer):
    """Mamba-3 (2603.15569): Mamba-2 with a trapezoid step and states that turn.

    S_t = a_t S_{t-1} + (1 - l_t) dt_t a_t k_{t-1} x_{t-1}^T + l_t dt_t k_t x_t^T and y_t = S_t^T q_t + D x_t for each
    head, with dt = softplus(W x + b), log a = -softplus(W x) dt and l = sigmoid(W x): each token also writes the one
    before, in place of a short convolution. Queries and keys are RMS-normed, shared by the heads of a group, and get a
    bias of each head that starts at one; half of their elements are turned in pairs, by the sum over all tokens so far
    of pi tanh(W x) dt. That stands for a complex state. The output is W_o (y * silu(z)), without a norm, as in the
    released code. Initial values: softplus(b) log-uniform in [.001, .1], D = 1.

    With several inputs and outputs a head (MIMO), a token writes R pairs k_r (u_r * x)^T at once and is read by R
    queries: y_r = S^T q_r + D u_r * x, and the output is that of sum_r w_r * y_r * silu(s_r * z), with u, s and w of
    each head, rank and value. They start at 1 / R, 1 and 1 / R. It is more work in a step for the same state.

    Args:
        dims: sizes of the model.
        heads: number of heads; None means one for every `value_size` of twice the width.
        key_size: of each head, N in the paper.
        value_size: of each head, P in the paper.
        n_groups: groups of heads that share queries and keys, but for their biases.
        mimo_rank: R in the paper; 1 is one input and one output a head.

    Raises:
        InputError: sizes that are not positive integers or do not divide.
    """

    family = "ssm"
    source = "Mamba-3: Improved Sequence Modeling using State Space Principles (arXiv 2603.15569)"

    scaled = {"heads": Scaling.HEADS, "key_size": Scaling.HEAD_SIZE, "value_size": Scaling.HEAD_SIZE}

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int = 128,
        value_size: int = 64,
        n_groups: int = 1,
        mimo_rank: int = 1,
    ):
        super().__init__()
        self.key_size, self.value_size = positive("key_size", key_size), positive("value_size", value_size)
        self.heads = max(1, 2 * dims.width // value_size) if heads is None else positive("heads", heads)
        self.groups = positive("n_groups", n_groups)
        if self.heads % n_groups:
            raise InputError("n_groups", n_groups, f"a divisor of heads={self.heads}")
        self.pairs = max(key_size // 4, min(1, key_size // 2))
        self.rank = positive("mimo_rank", mimo_rank)
        values, keys = self.heads * value_size, n_groups * key_size * mimo_rank
        self.sizes = [values, values, 2 * keys, 3 * self.heads, self.pairs]
        self.input = nn.Linear(dims.width, sum(self.sizes), bias=False)
        self.norms = nn.ModuleList([RMSNorm(key_size), RMSNorm(key_size)])
        self.biases = nn.Parameter(torch.ones(2 * self.rank * self.heads * key_size))
        # What values, gates and outputs of each rank are multiplied by; vectors, as the biases are.
        scales = [torch.full((self.rank * values,), start) for start in (1 / self.rank, 1.0, 1 / self.rank)]
        self.scales = nn.ParameterList(map(nn.Parameter, scales)) if self.rank > 1 else None
        self.step_bias = nn.Parameter(step_bias(self.heads))
        self.skip = nn.Parameter(torch.ones(self.heads))
        self.output_gate = OutputGate()
        self.output = nn.Linear(values, dims.width, bias=False)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D]; see `Mixer.forward`."""
        state = state or self.initial_state(x.shape[0])
        gate, v, qk, turn, log_decay, before, now = self._inputs(x)
        angle = state["angle"].unsqueeze(1) + turn.cumsum(1)
        q, k = self._turned(qk, angle)
        # A token is written as itself and, by the next, as the one before: one recurrence writes both at once, and what
        # a token must not see of itself yet is taken away.
        following = torch.cat([before[:, 1:], torch.zeros_like(before[:, :1])], 1)
        values = self._ranked(v)
        o, memory = self._recurred(
            q, k, ((now + following) * values).to(v.dtype), log_decay, self._entered(state, before[:, 0])
        )
        ahead = torch.ones(self.rank, self.rank, dtype=torch.bool, device=x.device).triu(1)  # ranks not yet written
        own = torch.where(ahead, now.transpose(2, 3), -following.transpose(2, 3))  # [B, T, H, R, R]
        own = own.to(q.dtype) * torch.einsum("btrhn,btshn->bthrs", q, k)
        o = o + torch.einsum("bthrs,btshp->btrhp", own, values.to(own.dtype))
        return self._read(o, v, gate), {"memory": memory, "key": k[:, -1], "value": v[:, -1], "angle": angle[:, -1]}

    def _recurred(self, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """What is read [B, T, R, H, P], and the memory after: the ranks of a token are R tokens in a row, of which the
        first forgets."""
        first = torch.zeros(self.rank, 1, dtype=log_decay.dtype, device=log_decay.device)
        first[0] = 1.0
        decay = (log_decay.unsqueeze(-2) * first).flatten(1, 2)
        q, k, v = (y.flatten(1, 2) for y in (q, k, v))
        o, memory = linear_attention(q, k, v, decay, scale=1.0, initial_state=memory)
        return o.unflatten(1, (-1, self.rank)), memory

    @staticmethod
    def _written(k: Tensor, v: Tensor) -> Tensor:
        """What keys [B, R, H, N] and values [B, R, H, P] write, [B, H, N, P]."""
        return torch.einsum("brhn,brhp->bhnp", k.to(v.dtype), v)

    def _entered(self, state: State, before: Tensor) -> Tensor:
        """The memory with the token before, which enters ahead of the decay: that is the a_t of its weight."""
        value = (before * self._ranked(state["value"])).to(state["memory"].dtype)
        return state["memory"] + self._written(state["key"], value)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        gate, v, qk, turn, log_decay, before, now = self._inputs(x)
        angle = state["angle"] + turn
        q, k = self._turned(qk, angle)
        precision = state["memory"].dtype
        memory = log_decay.exp()[..., None, None] * self._entered(state, before)
        memory = memory + self._written(k, (now * self._ranked(v)).to(precision))
        o = torch.einsum("brhn,bhnp->brhp", q.to(precision), memory).to(v.dtype)
        return self._read(o, v, gate), {"memory": memory, "key": k, "value": v, "angle": angle}

    def _inputs(self, x: Tensor) -> tuple[Tensor, ...]:
        """Gate [..., H P], values [..., H, P], queries and keys [..., 2, R, H, N], what angles grow by [..., H, pairs],
        log decay [..., H], and the weights of the token before (without a_t) and of this one [..., 1, H, 1]."""
        gate, v, qk, scalars, turn = self.input(x).split(self.sizes, -1)
        step, rate, share = scalars.chunk(3, -1)
        step = F.softplus(step + self.step_bias)  # autocast leaves sums with parameters in float32
        log_decay = -F.softplus(rate).clamp(min=SLOWEST) * step
        share = share.sigmoid()
        qk = qk.unflatten(-1, (2, self.rank, self.groups, self.key_size))
        qk = torch.stack([norm(y) for norm, y in zip(self.norms, qk.unbind(-4), strict=True)], -4)
        qk = qk.repeat_interleave(self.heads // self.groups, -2)
        qk = (qk + self.biases.unflatten(0, (2, self.rank, self.heads, -1))).to(v.dtype)
        turn = math.pi * turn.tanh().unsqueeze(-2) * step[..., None]
        before, now = (weight[..., None, :, None] for weight in ((1 - share) * step, share * step))
        return gate, v.unflatten(-1, (self.heads, -1)), qk, turn, log_decay, before, now

    def _ranked(self, values: Tensor, which: int = 0) -> Tensor:
        """Values or gates [..., H, P] at each rank, [..., R, H, P]."""
        y = values.unsqueeze(-3)
        return y if self.scales is None else y * self.scales[which].unflatten(0, (self.rank, self.heads, -1))

    def _turned(self, qk: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys [..., R, H, N], with the first pairs of elements turned."""
        angle = angle[..., None, None, :, :]
        pairs, rest = qk.split([2 * self.pairs, self.key_size - 2 * self.pairs], -1)
        even, odd = pairs.unflatten(-1, (self.pairs, 2)).unbind(-1)
        cos, sin = angle.cos().to(qk.dtype), angle.sin().to(qk.dtype)
        turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)
        q, k = torch.cat([turned, rest], -1).unbind(-4)
        return q, k

    def _read(self, o: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        y = o + (self.skip[:, None] * self._ranked(v)).to(v.dtype)
        y = y * self.output_gate(self._ranked(gate.unflatten(-1, (self.heads, -1)), 1))
        if self.scales is not None:
            y = y * self.scales[2].unflatten(0, (self.rank, self.heads, -1))
        return self.output(y.sum(-3).flatten(-2).to(v.dtype))

    def initial_state(self, batch: int) -> State:
        """No memory, no token before, no angle; memory and angle are float32 at least."""
        weight, h = self.input.weight, self.heads
        precision = torch.promote_types(weight.dtype, torch.float32)
        return {
            "memory": weight.new_zeros(batch, h, self.key_size, self.value_size, dtype=precision),
            "key": weight.new_zeros(batch, self.rank, h, self.key_size),
            "value": weight.new_zeros(batch, h, self.value_size),
            "angle": weight.new_zeros(batch, h, self.pairs, dtype=precision),
        }

    def cost(self) -> PartCost:
        """The state, written twice a token and rank, with its angles; keys and value of the token before; D."""
        keys, values = self.heads * self.key_size * self.rank, self.heads * self.value_size
        elements, skip = self.heads * self.key_size * self.value_size, 2.0 * values * self.rank
        ranked = 0 if self.scales is None else 3.0 * values * self.rank  # products with u, s and w
        return PartCost(
            **self.weights(),
            state_elements=elements + self.heads * self.pairs,
            conv_elements=keys + values,
            decode_flops=(1.0 + 6.0 * self.rank) * elements + skip + ranked,
            prefill_flops=4.0 * elements * self.rank
            + (CHUNK + 2 * self.rank) * (keys + values * self.rank)
            + skip
            + ranked,
        )
