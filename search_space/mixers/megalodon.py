"""Megalodon."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kernels import masked_attention, rms_norm, rotary
from search_space import limits
from search_space.checks import head_size, positive, positive_number
from search_space.parts.base import Cache, Dims, Mixer, PartCost, Scaling, State
from search_space.parts.complex_average import ComplexAverage
from search_space.parts.nn import OutputGate, RMSNorm

FLOPS_OF_NORM = 10
"""Of the norm over time, for each channel."""


class TimestepNorm(nn.Module):
    """Norm of groups of channels by mean and variance of all tokens so far (2404.08801, section 3.2).

    Args:
        channels: of the input.
        group: channels of a group, or more, where so many do not divide them.
        eps: keeps a group without variance finite.
    """

    def __init__(self, channels: int, group: int, eps: float = 1e-5):
        super().__init__()
        self.groups = next(count for count in range(max(1, channels // group), 0, -1) if channels % count == 0)
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, sums: Tensor, position: int) -> tuple[Tensor, Tensor]:
        """x [B, T, C] from place `position` on, sums of values and squares before [B, 2, groups] -> y, and new sums."""
        count = torch.arange(position + 1, position + x.shape[1] + 1, device=x.device)[:, None, None]
        grouped = x.to(sums.dtype).unflatten(-1, (self.groups, -1))
        both = torch.stack([grouped.mean(-1), grouped.square().mean(-1)], 2).cumsum(1) + sums.unsqueeze(1)
        mean, square = (both / count).unbind(2)
        scale = ((square - mean.square()).clamp(min=0) + self.eps).rsqrt()
        normed = ((grouped - mean[..., None]) * scale[..., None]).flatten(-2)
        return (normed * self.weight + self.bias).to(x.dtype), both[:, -1]


class Megalodon(Mixer):
    """Megalodon (2404.08801, section 3): attention within chunks, whose queries and keys see a complex moving average.

    u = TimestepNorm(x), m = RMSNorm(CEMA(u)), z = RMSNorm(W_z m) for each head; q and k are z (1 + c) / K^1/2 + b with
    c and b of their own, zero at the start, and v = silu(W_v u). Causal softmax attention, without further scale, with
    rotary positions, sees the tokens of one's own chunk; what is further back is in the moving average. The output is
    W_1 m + b + W_2 (o * silu(W_r m)). Sizes are those of the released code: K H a fourth of the width, V H twice the
    width, one head for every 1024.

    The paper's layer has no norm ahead of the one over time; here the model's is there, as for all mixers.

    Args:
        dims: sizes of the model.
        heads: number of heads; None means one for every 1024 of the width.
        key_size: of each head; None means width / 4 / heads.
        value_size: of each head; None means 2 width / heads.
        modes: of each channel of the moving average, N in the paper.
        chunk: tokens of a chunk.
        norm_group: channels that the norm over time takes together.
        rope_theta: base of the rotary wavelengths.

    Raises:
        InputError: sizes that are not positive integers or do not divide.
    """

    family = "mixed"
    source = "Megalodon: Efficient LLM Pretraining and Inference with Unlimited Context Length (arXiv 2404.08801)"

    scaled = {
        "key_size": Scaling.WIDTH,
        "value_size": Scaling.WIDTH,
        "modes": Scaling.HEAD_SIZE,
        "chunk": Scaling.LENGTH,
    }

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        modes: int = 16,
        chunk: int = 2048,
        norm_group: int = 32,
        rope_theta: float = 10000.0,
    ):
        super().__init__()
        self.heads = max(1, dims.width // 1024) if heads is None else positive("heads", heads)
        self.key_size = head_size("key_size", key_size, self.heads, max(1, dims.width // 4))
        self.value_size = head_size("value_size", value_size, self.heads, 2 * dims.width)
        self.modes, self.chunk = positive("modes", modes), positive("chunk", chunk, limits.TOKENS)
        self.rope_theta = positive_number("rope_theta", rope_theta)
        keys, values, width = self.heads * self.key_size, self.heads * self.value_size, dims.width
        self.time_norm = TimestepNorm(width, positive("norm_group", norm_group))
        self.average = ComplexAverage(width, modes)
        self.norm = RMSNorm(width)
        self.value = nn.Linear(width, values)
        self.input = nn.Linear(width, keys + values)
        self.key_gains, self.key_biases = (nn.Parameter(torch.zeros(2 * keys)) for _ in range(2))
        self.output_gate = OutputGate()
        self.output = nn.Linear(width + values, width)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D]; see `Mixer.forward`."""
        state = state or self.initial_state(x.shape[0])
        position, past = state["position"], state["keys"].shape[1]
        u, sums = self.time_norm(x, state["sums"], position)
        average, memory = self.average(u, state["memory"])
        m = self.norm(average)
        z, gate = self.input(m).split([self.heads * self.key_size, self.heads * self.value_size], -1)
        q, k = self._turned(z, position)
        v = F.silu(self.value(u)).unflatten(-1, (self.heads, -1))
        keys, values = torch.cat([state["keys"], k], 1), torch.cat([state["values"], v], 1)
        place = torch.arange(position - past, position + x.shape[1], device=x.device)
        own = place[past:, None]
        seen = (place <= own) & (place // self.chunk == own // self.chunk)
        o = masked_attention(q, keys, values, seen, scale=1.0)
        y = self.output(torch.cat([m, o.flatten(-2) * self.output_gate(gate)], -1))
        kept = {"keys": keys[:, -self.chunk :], "values": values[:, -self.chunk :]}
        return y, {**kept, "memory": memory, "sums": sums, "position": position + x.shape[1]}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        y, state = self.forward(x.unsqueeze(1), state)
        return y.squeeze(1), state

    def _turned(self, z: Tensor, position: int) -> tuple[Tensor, Tensor]:
        """Queries and keys [B, T, H, K], with positions; the last element of an odd size has none."""
        z = z.unflatten(-1, (self.heads, self.key_size))
        z = rms_norm(z, z.new_ones(self.key_size), eps=self.norm.eps)
        gains, biases = (y.unflatten(0, (2 * self.heads, -1)) for y in (self.key_gains, self.key_biases))
        qk = (torch.cat([z, z], -2) * ((1 + gains) * self.key_size**-0.5) + biases).to(z.dtype)
        pairs = self.key_size // 2 * 2
        if pairs:
            qk = torch.cat([rotary(qk[..., :pairs], position, self.rope_theta), qk[..., pairs:]], -1)
        return qk.chunk(2, -2)  # type: ignore[return-value]

    def initial_state(self, batch: int) -> State:
        """No token, no average; what adds up is float32 at least."""
        weight = self.output.weight
        precision = torch.promote_types(weight.dtype, torch.float32)
        return {
            "keys": weight.new_zeros(batch, 0, self.heads, self.key_size),
            "values": weight.new_zeros(batch, 0, self.heads, self.value_size),
            "memory": self.average.initial_memory(batch),
            "sums": weight.new_zeros(batch, 2, self.time_norm.groups, dtype=precision),
            "position": 0,
        }

    def cost(self) -> PartCost:
        """The average, the norm, and keys and values of a chunk, of which a step reads half on average."""
        width, size = self.output.out_features, self.key_size + self.value_size
        cache = Cache(
            elements=self.heads * size,
            flops=2.0 * self.heads * size,
            window=self.chunk,
            reads=max(1, self.chunk // 2),
            heads=self.heads,
        )
        norm = FLOPS_OF_NORM * width
        return PartCost(
            **self.weights(),
            caches=(cache,),
            state_elements=self.average.state_elements + 2 * self.time_norm.groups,
            decode_flops=self.average.decode_flops + norm,
            prefill_flops=self.average.prefill_flops + norm,
        )
