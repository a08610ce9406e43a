"""The body of mixers that remember in one matrix a head.

Shapes: B sequences, T tokens, D model width, H heads, K key size, V value size; "..." is B, T (in a step: B).
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from kernels import delta_rule, delta_rule_step, linear_attention, linear_attention_step
from search_space.checks import positive
from search_space.parts.base import Dims, Mixer, PartCost, Scaling, State
from search_space.parts.nn import RMSNorm, ShortConvolution

CHUNK = 64
"""Tokens that the chunkwise form takes at once on a GPU; the FLOPs of a prefill are counted with it."""


class MatrixStateMixer(Mixer):
    """Projects, convolves, updates a state [H, K, V], normalises what it reads, gates and projects back.

    A mixer fills in `recurrence`, and names other operators where decayed linear attention is not its own.

    Args:
        dims: sizes of the model.
        heads: H.
        key_size: K, of each head.
        value_size: V, of each head.
        conv: width of the short convolution over queries, keys and values; 0 means none.
        activation: whether SiLU follows the convolution.
        gated: whether a further projection of the input gates the output, by SiLU unless `read` says otherwise.
        extra: further outputs of the input projection, for `recurrence`.
        norm_size: elements that the output norm takes together; None means each head by itself.
        key_heads: G, heads of queries and keys; None means H.
        conv_bias: whether the short convolution has a bias.
        gate_size: outputs of the projection that gates; None means one for each value.

    Class attributes:
        operator: updates the state by a whole sequence.
        step_operator: updates it by a single token.
        query_scale: factor of the queries; None means K^-0.5.
        flops_per_element: FLOPs that a decode step spends on an element of the state. Decayed linear attention: a
            multiplication by the decay, two for the outer product and its sum, two for reading.
    """

    family = "linear"
    operator: ClassVar[Callable] = staticmethod(linear_attention)
    step_operator: ClassVar[Callable] = staticmethod(linear_attention_step)
    query_scale: ClassVar[float | None] = None
    flops_per_element: ClassVar[int] = 5
    scaled = {"heads": Scaling.HEADS, "key_size": Scaling.HEAD_SIZE, "value_size": Scaling.HEAD_SIZE}

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int,
        key_size: int,
        value_size: int,
        conv: int,
        activation: bool,
        gated: bool,
        extra: int = 0,
        norm_size: int | None = None,
        key_heads: int | None = None,
        conv_bias: bool = False,
        gate_size: int | None = None,
    ):
        super().__init__()
        self.heads = positive("heads", heads)
        self.key_size = positive("key_size", key_size)
        self.value_size = positive("value_size", value_size)
        self.norm_size = norm_size or value_size
        self.key_heads = key_heads or heads
        values = heads * value_size
        self.sizes = [2 * self.key_heads * key_size + values, (gate_size or values) if gated else 0, extra]
        self.input = nn.Linear(dims.width, sum(self.sizes), bias=False)
        self.conv: Any = ShortConvolution(self.sizes[0], conv, activation, bias=conv_bias)
        self.norm = RMSNorm(self.norm_size)
        self.output = nn.Linear(values, dims.width, bias=False)

    @abstractmethod
    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Tensor | None, ...]:
        """What the operator takes: q and k [..., H, K], v [..., H, V], then its gates.

        Args:
            qk: queries, then keys, [..., 2 G, K], after the convolution.
            v: values [..., H, V], after the convolution.
            extra: further outputs of the input projection [..., extra].
            position: place of the first token in its sequence.
        """

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D]; see `Mixer.forward`."""
        state = state or {}
        position = state.get("position", 0)
        features, gate, extra = self.input(x).split(self.sizes, -1)
        features, conv = self.convolve(features, extra, state.get("conv"))
        qk, v = self._heads(features)
        inputs = self.recurrence(qk, v, extra, position)
        o, memory = self.operator(*inputs, initial_state=state.get("memory"), scale=self.query_scale)
        y = self.output(self.read(o, v, gate))
        return y, {"memory": memory, "conv": conv, "position": position + x.shape[1]}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        position = state["position"]
        features, gate, extra = self.input(x).split(self.sizes, -1)
        features, conv = self.convolve_step(features, extra, state["conv"])
        qk, v = self._heads(features)
        inputs = self.recurrence(qk, v, extra, position)
        o, memory = self.step_operator(*inputs, state["memory"], scale=self.query_scale)
        y = self.output(self.read(o, v, gate))
        return y, {"memory": memory, "conv": conv, "position": position + 1}

    def convolve(self, features: Tensor, extra: Tensor, cache: Tensor | None) -> tuple[Tensor, Tensor]:
        """Queries, keys and values [B, T, ...] through the short convolution, and what it keeps.

        Args:
            features: of the input projection.
            extra: further outputs of it, for a convolution that depends on them.
            cache: what was kept before.
        """
        return self.conv(features, cache)

    def convolve_step(self, features: Tensor, extra: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """The same for a single token, [B, ...]."""
        return self.conv.step(features, cache)

    def _heads(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Splits convolved features into queries and keys [..., 2 G, K] and values [..., H, V]."""
        values = self.heads * self.value_size
        qk, v = features.split([self.sizes[0] - values, values], -1)
        qk = qk.unflatten(-1, (2 * self.key_heads, self.key_size))
        return qk, v.unflatten(-1, (self.heads, self.value_size))

    def read(self, o: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        """What the output projection takes, [..., H V]: the norm, then the gate.

        Args:
            o: what the queries read, [..., H, V].
            v: values [..., H, V], after the convolution.
            gate: outputs of the input projection [..., gate_size].
        """
        o = o.flatten(-2).unflatten(-1, (-1, self.norm_size))
        gates = gate.unflatten(-1, (-1, self.norm_size)) if self.sizes[1] else None
        return self.norm(o, gates).flatten(-2)

    @property
    def state_sizes(self) -> tuple[int, int]:
        """Rows and columns of a head's state: K and V, unless what is written is wider."""
        return self.key_size, self.value_size

    def initial_state(self, batch: int) -> State:
        """No memory, nothing convolved yet; the memory is float32 at least."""
        weight = self.input.weight
        precision = torch.promote_types(weight.dtype, torch.float32)
        memory = weight.new_zeros(batch, self.heads, *self.state_sizes, dtype=precision)
        return {"memory": memory, "conv": self.conv.initial_cache(weight, batch), "position": 0}

    def cost(self) -> PartCost:
        """The state, and the FLOPs of the update and of reading it."""
        elements = self.heads * math.prod(self.state_sizes)
        return PartCost(
            **self.weights(),
            state_elements=elements,
            conv_elements=self.conv.cached * self.conv.channels,
            decode_flops=self.flops_per_element * elements,
            prefill_flops=self.prefill_flops(),
        )

    def prefill_flops(self) -> float:
        """FLOPs a token of the chunkwise form: between chunks through the state, within one by attention."""
        rows, columns = self.state_sizes
        return 4 * self.heads * rows * columns + CHUNK * self.heads * (rows + columns)


class DeltaRuleMixer(MatrixStateMixer):
    """A `MatrixStateMixer` that updates by the delta rule; its gates are writing strength and log decay.

    Without decay a step spends 6 FLOPs on an element of the state: two each for reading the old value, writing the
    new one, and reading by the query. Decay is a seventh.
    """

    family = "delta"
    operator: ClassVar[Callable] = staticmethod(delta_rule)
    step_operator: ClassVar[Callable] = staticmethod(delta_rule_step)
    flops_per_element = 6

    def prefill_flops(self) -> float:
        """Those of linear attention, and of solving for the values that each chunk writes."""
        rows, columns = self.state_sizes
        through_state = 2 * self.heads * rows * columns
        within_chunk = 2 * CHUNK * self.heads * (2 * rows + columns)
        return super().prefill_flops() + through_state + within_chunk + CHUNK**2 * self.heads / 3
