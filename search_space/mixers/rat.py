"""RAT."""

import torch
from torch import Tensor, nn

from kernels import gated_scan
from search_space import limits
from search_space.checks import head_size, positive, rotary_base
from search_space.errors import InputError
from search_space.parts.base import Cache, Dims, Mixer, PartCost, Scaling, State
from search_space.parts.checkpoints import attend

LONGEST = 15.0
"""Initial gates forget over 1 / (1 - g) = 2 .. 16 tokens."""
NOTHING = -1e4
"""Log decay at the start of a chunk."""


class RAT(Mixer):
    """RAT (2507.04416): a recurrence within chunks of tokens, and attention over the chunks.

    Within a chunk, keys and values run through y_t = g_t y_{t-1} + (1 - g_t) x_t with g = sigmoid(W_g x + b), element
    by element. Each token attends to the last entry of every chunk before, and to its own entry, with rotary positions
    by number of chunk. A sigmoid gate follows. Queries and keys have two heads' worth of projections, head h taking
    number h mod 2; the recurrence makes keys of all heads different. b = log U(1, 15) at the start.

    Args:
        dims: sizes of the model.
        heads: of queries, keys and values; None means one for every 128 of the width.
        key_size: of each head, even; None means width / heads.
        value_size: of each head, as large as `key_size`; the gate is shared.
        kv_groups: projections of queries and keys, a divisor of the heads; None means 2 where that divides them, or 1.
        chunk: tokens of a chunk.
        rope_theta: base of the rotary wavelengths; None means no positions.

    Raises:
        InputError: sizes that are not positive integers, do not divide or differ, or an odd key size.
    """

    family = "mixed"
    source = "RAT: Bridging RNN Efficiency and Attention Accuracy via Chunk-based Sequence Modeling (arXiv 2507.04416)"

    scaled = {
        "heads": Scaling.ATTENTION_HEADS,
        "key_size": Scaling.ATTENTION_HEAD_SIZE,
        "value_size": Scaling.ATTENTION_HEAD_SIZE,
    }

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        kv_groups: int | None = None,
        chunk: int = 16,
        rope_theta: float | None = 10000.0,
    ):
        super().__init__()
        self.heads = positive("heads", max(1, dims.width // 128) if heads is None else heads)
        self.key_size = head_size("key_size", key_size, self.heads, dims.width)
        self.value_size = head_size("value_size", value_size, self.heads, dims.width)
        if self.key_size != self.value_size:
            raise InputError("value_size", self.value_size, f"key_size={self.key_size}")
        self.kv_groups = 1 + (self.heads % 2 == 0) if kv_groups is None else positive("kv_groups", kv_groups)
        if self.heads % self.kv_groups:
            raise InputError("kv_groups", kv_groups, f"a divisor of heads={self.heads}")
        self.chunk = positive("chunk", chunk, limits.TOKENS)
        if chunk < 2:
            raise InputError("chunk", chunk, "2 at least")
        self.rope_theta = None if rope_theta is None else rotary_base(rope_theta, self.key_size)
        size = self.heads * self.key_size
        self.sizes = [2 * self.kv_groups * self.key_size, size, size, size]
        self.input = nn.Linear(dims.width, sum(self.sizes), bias=False)
        self.bias = nn.Parameter(torch.empty(size).uniform_(1, LONGEST).log())
        self.output = nn.Linear(size, dims.width, bias=False)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D]; see `Mixer.forward`."""
        position, length = state["position"] if state else 0, x.shape[1]
        place = torch.arange(position, position + length, device=x.device)
        qk, v, keep, gate = self.input(x).split(self.sizes, -1)
        qk = qk.unflatten(-1, (2, self.kv_groups, self.key_size))
        q, k = qk.repeat(1, 1, 1, self.heads // self.kv_groups, 1).unbind(2)  # head h has group h mod groups
        keep = keep + self.bias
        entering = torch.cat([k.flatten(-2), v], -1) * keep.neg().sigmoid().repeat(1, 1, 2)
        log_decay = nn.functional.logsigmoid(keep).repeat(1, 1, 2)
        log_decay = log_decay.masked_fill((place % self.chunk == 0)[:, None], NOTHING)
        memory = state["memory"] if state else None
        scanned, memory = gated_scan(entering, log_decay, initial_state=memory)
        k, v = scanned.to(x.dtype).unflatten(-1, (2 * self.heads, -1)).chunk(2, -2)
        if self.rope_theta is not None:
            q, k = self._turned(q, place), self._turned(k, place)
        before = (state["keys"], state["values"]) if state else None
        o, (keys, values) = attend(q, k, v, before, position, self.chunk)
        new = {"keys": keys, "values": values, "memory": memory, "position": position + length}
        return self.output(o.flatten(-2) * gate.sigmoid()), new

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        y, state = self.forward(x.unsqueeze(1), state)
        return y.squeeze(1), state

    def _turned(self, x: Tensor, place: Tensor) -> Tensor:
        """x [B, T, H, K] with pairs (i, i + K / 2) turned by the number of its chunk."""
        half = self.key_size // 2
        exponents = torch.arange(half, device=x.device) / -half
        angles = (place // self.chunk)[:, None, None] * self.rope_theta**exponents  # type: ignore[operator]
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        one, other = x.chunk(2, -1)
        return torch.cat([one * cos - other * sin, other * cos + one * sin], -1)

    def initial_state(self, batch: int) -> State:
        """No chunk, no running entry; that is float32 at least."""
        weight = self.input.weight
        precision = torch.promote_types(weight.dtype, torch.float32)
        none = weight.new_zeros(batch, 0, self.heads, self.key_size)
        memory = weight.new_zeros(batch, 2 * self.heads * self.key_size, dtype=precision)
        return {"keys": none, "values": none.clone(), "memory": memory, "position": 0}

    def state_after(self, batch: int, context: int) -> State:
        """Chunks of zeros."""
        state = self.initial_state(batch)
        none = state["keys"].new_zeros(batch, context // self.chunk, self.heads, self.key_size)
        return {**state, "keys": none, "values": none.clone(), "position": context}

    def cost(self) -> PartCost:
        """Two entries a chunk, the running ones, and FLOPs for each chunk, the own entry and the recurrence."""
        size = self.heads * self.key_size
        cache = Cache(elements=2 * size, flops=4.0 * size, every=self.chunk, heads=self.heads)
        flops = 4.0 * size + 2 * 3 * size
        return PartCost(
            **self.weights(), caches=(cache,), conv_elements=2 * size, decode_flops=flops, prefill_flops=flops
        )
