"""Rodimus."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kernels import linear_attention, linear_attention_step
from search_space.checks import positive
from search_space.parts.base import Dims, Mixer, PartCost, Scaling, State
from search_space.parts.matrix_state import CHUNK
from search_space.parts.nn import OutputGate, RMSNorm, ShortConvolution, unit_length

LEAST_RANK, WIDTH_OF_RANK = 16, 64
SMALLEST = 1e-12
"""Least strength of writing, whose power is taken."""


class Rodimus(Mixer):
    """Rodimus (2410.06577, section 4.1): gated linear attention with one head, whose gates share a temperature.

    With [u, z] = W x, each twice as wide as the model, and c = silu(conv(u)) with bias, S_t = diag(a_t) S_{t-1} + k_t
    v_t^T and o_t = K^-1/2 S_t^T q_t for queries W_q c and keys k = unit(W_k c) * g^r of K elements, log a = -r g with g
    = softplus(W_g c + b) and r = sigmoid(W_r c + b), and values v = sigmoid(low rank of u) * u. The output is W_o
    RMSNorm((o + w * c) * silu(z)), where w starts at one.

    Rodimus+ alternates it with windows whose keys are shared by all heads: `rodimus sliding_window(kv_heads=1)`, but
    for the values, which have heads of their own there.

    Args:
        dims: sizes of the model.
        channels: of u and z; None means twice the width.
        key_size: K.
        rank: of the gate of values; None means width / 64, 16 at least.
        conv: width of the short convolution; 0 means none.

    Raises:
        InputError: a size that is not a positive integer.
    """

    family = "linear"
    source = "Rodimus*: Breaking the Accuracy-Efficiency Trade-Off with Efficient Attentions (arXiv 2410.06577)"

    scaled = {"channels": Scaling.WIDTH, "key_size": Scaling.HEAD_SIZE, "rank": Scaling.WIDTH}

    def __init__(
        self,
        dims: Dims,
        *,
        channels: int | None = None,
        key_size: int = 64,
        rank: int | None = None,
        conv: int = 4,
    ):
        super().__init__()
        self.channels = 2 * dims.width if channels is None else positive("channels", channels)
        self.key_size = positive("key_size", key_size)
        self.rank = max(LEAST_RANK, dims.width // WIDTH_OF_RANK) if rank is None else positive("rank", rank)
        self.input = nn.Linear(dims.width, 2 * self.channels, bias=False)
        self.conv = ShortConvolution(self.channels, conv, activation=True, bias=True)
        self.selection = nn.Linear(self.channels, 2 * key_size, bias=False)
        self.gates = nn.Linear(self.channels, 2 * key_size)
        self.low = nn.Linear(self.channels, self.rank, bias=False)
        self.high = nn.Linear(self.rank, self.channels)
        self.skip = nn.Parameter(torch.ones(self.channels))
        self.norm = RMSNorm(self.channels)
        self.output_gate = OutputGate()
        self.output = nn.Linear(self.channels, dims.width, bias=False)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D]; see `Mixer.forward`."""
        state = state or {}
        u, z = self.input(x).chunk(2, -1)
        c, conv = self.conv(u, state.get("conv"))
        o, memory = linear_attention(*self._recurrence(u, c), initial_state=state.get("memory"))
        return self._read(o, c, z), {"memory": memory, "conv": conv}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        u, z = self.input(x).chunk(2, -1)
        c, conv = self.conv.step(u, state["conv"])
        o, memory = linear_attention_step(*self._recurrence(u, c), state["memory"])
        return self._read(o, c, z), {"memory": memory, "conv": conv}

    def _recurrence(self, u: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """q and k [..., 1, K], v [..., 1, channels] and log decay [..., 1, K]."""
        q, k = self.selection(c).chunk(2, -1)
        strength, temperature = self.gates(c).chunk(2, -1)
        strength, temperature = F.softplus(strength), temperature.sigmoid()
        k = unit_length(k) * (temperature * strength.clamp(min=SMALLEST).log()).exp().to(k.dtype)
        v = self.high(self.low(u)).sigmoid() * u
        q, k, v, log_decay = (y.unsqueeze(-2) for y in (q, k, v, -temperature * strength))
        return q, k, v, log_decay

    def _read(self, o: Tensor, c: Tensor, z: Tensor) -> Tensor:
        return self.output(self.norm((o.squeeze(-2) + (self.skip * c).to(o.dtype)) * self.output_gate(z)))

    def initial_state(self, batch: int) -> State:
        """No memory, nothing convolved yet; the memory is float32 at least."""
        weight = self.input.weight
        precision = torch.promote_types(weight.dtype, torch.float32)
        memory = weight.new_zeros(batch, 1, self.key_size, self.channels, dtype=precision)
        return {"memory": memory, "conv": self.conv.initial_cache(weight, batch)}

    def cost(self) -> PartCost:
        """The state, and what joins its output."""
        elements, joined = self.key_size * self.channels, 2.0 * self.channels
        return PartCost(
            **self.weights(),
            state_elements=elements,
            conv_elements=self.conv.cached * self.conv.channels,
            decode_flops=5.0 * elements + joined,
            prefill_flops=4.0 * elements + CHUNK * (self.key_size + self.channels) + joined,
        )
