"""CHELA."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kernels import linear_attention, linear_attention_step
from search_space.checks import head_size, positive
from search_space.parts.base import Dims, Mixer, PartCost, Scaling, State
from search_space.parts.complex_average import ComplexAverage
from search_space.parts.matrix_state import CHUNK
from search_space.parts.nn import OutputGate, RMSNorm, ShortConvolution

WIDTH_PER_HEAD = 512


class CHELA(Mixer):
    """CHELA (2406.08128): a short and a long convolution, and gated linear attention that looks by what they found.

    u = long(silu(short(x))), both channel by channel. z = silu(W_z u + b) for each head; q and k are z (1 + c) + m
    with c and m of their own, and v = silu(W_v x + b). o_t = K^-1/2 S_t^T q_t with S_t = S_{t-1} + k_t v_t^T, without
    decay or positions. Behind an RMS norm of each head the output is W_o (o * silu(W_g u + b)).

    Of the paper only what others say of it was at hand: the two convolutions in this order with SiLU between them,
    queries and keys of what they make, values of the input, causal linear attention, and an output gate as in MEGA
    (2209.10655) and the gated attention unit (2202.10447). All else is our choice. The long filter is a sum of complex
    modes (`ComplexAverage`), where the paper's is as long as the sequence: this one sees all tokens before as well, and
    a step has a state that does not grow. That q and k are one projection, and SiLU of it and of values, is MEGA's; so
    are values twice as wide as the model. A head of 128 key elements is the gated attention unit's; one for every 512
    of the width gives a state as large as Gated DeltaNet's. The norm takes the place of a sum of weights, which can be
    zero here. c and m start at zero. The paper merges kernels of both lengths into one; no such branch is here.

    Args:
        dims: sizes of the model.
        heads: number of heads; None means one for every 512 of the width.
        key_size: of each head; None means width / 4 / heads.
        value_size: of each head; None means 2 width / heads.
        conv: width of the short convolution; 0 means none.
        modes: of each channel of the long one.

    Raises:
        InputError: sizes that are not positive integers or do not divide.
    """

    family = "linear"
    source = (
        "Short-Long Convolutions Help Hardware-Efficient Linear Attention to Focus on Long Sequences (arXiv 2406.08128)"
    )

    scaled = {
        "heads": Scaling.HEADS,
        "key_size": Scaling.HEAD_SIZE,
        "value_size": Scaling.HEAD_SIZE,
        "modes": Scaling.WIDTH,
    }

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        conv: int = 4,
        modes: int = 16,
    ):
        super().__init__()
        self.heads = positive("heads", max(1, dims.width // WIDTH_PER_HEAD) if heads is None else heads)
        self.key_size = head_size("key_size", key_size, self.heads, max(1, dims.width // 4))
        self.value_size = head_size("value_size", value_size, self.heads, 2 * dims.width)
        self.modes = positive("modes", modes)
        keys, values = self.heads * self.key_size, self.heads * self.value_size
        self.conv = ShortConvolution(dims.width, conv, activation=True)
        self.average = ComplexAverage(dims.width, modes)
        self.input = nn.Linear(dims.width, keys + values)
        self.value = nn.Linear(dims.width, values)
        self.key_gains, self.key_biases = (nn.Parameter(torch.zeros(2 * keys)) for _ in range(2))
        self.norm = RMSNorm(self.value_size)
        self.output_gate = OutputGate()
        self.output = nn.Linear(values, dims.width, bias=False)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D]; see `Mixer.forward`."""
        state = state or {}
        u, conv = self.conv(x, state.get("conv"))
        u, average = self.average(u, state.get("average"))
        q, k, v, gate = self._features(x, u)
        o, memory = linear_attention(q, k, v, initial_state=state.get("memory"))
        return self._read(o, gate), {"memory": memory, "average": average, "conv": conv}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        u, conv = self.conv.step(x, state["conv"])
        u, average = self.average(u.unsqueeze(1), state["average"])
        q, k, v, gate = self._features(x, u.squeeze(1))
        o, memory = linear_attention_step(q, k, v, None, state["memory"])
        return self._read(o, gate), {"memory": memory, "average": average, "conv": conv}

    def _features(self, x: Tensor, u: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys [..., heads, key_size], values [..., heads, value_size] and the gate, of x and u [..., D]."""
        z, gate = self.input(u).split([self.heads * self.key_size, self.heads * self.value_size], -1)
        z = F.silu(z)
        qk = (torch.cat([z, z], -1) * (1 + self.key_gains) + self.key_biases).to(z.dtype)
        q, k = qk.unflatten(-1, (2 * self.heads, -1)).chunk(2, -2)
        return q, k, F.silu(self.value(x)).unflatten(-1, (self.heads, -1)), self.output_gate(gate)

    def _read(self, o: Tensor, gate: Tensor) -> Tensor:
        return self.output(self.norm(o).flatten(-2) * gate)

    def initial_state(self, batch: int) -> State:
        """No memory, nothing convolved yet; memories are float32 at least."""
        weight = self.output.weight
        precision = torch.promote_types(weight.dtype, torch.float32)
        return {
            "memory": weight.new_zeros(batch, self.heads, self.key_size, self.value_size, dtype=precision),
            "average": self.average.initial_memory(batch),
            "conv": self.conv.initial_cache(weight, batch),
        }

    def cost(self) -> PartCost:
        """The state, its update (two FLOPs an element) and reading it, and the long convolution."""
        elements = self.heads * self.key_size * self.value_size
        within_chunk = CHUNK * self.heads * (self.key_size + self.value_size)
        return PartCost(
            **self.weights(),
            state_elements=elements + self.average.state_elements,
            conv_elements=self.conv.cached * self.conv.channels,
            decode_flops=4.0 * elements + self.average.decode_flops,
            prefill_flops=4.0 * elements + within_chunk + self.average.prefill_flops,
        )
