"""What log-linear attention (2506.04761) adds to a mixer with a matrix state: a state for every power of two.

Shapes: B sequences, T tokens, H heads, K key size, V value size, L levels, P buckets; "..." is B, T (in a step: B).
"""

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.checks import positive
from search_space.parts.base import Cache, Dims, PartCost, State
from search_space.parts.matrix_state import MatrixStateMixer


class LogLinear(MatrixStateMixer):
    """Stands ahead of a mixer in the list of bases: that mixer's state, over buckets of tokens.

    o_t = sum_l w_t^l (S_t^l)^T q_t, where S^l is the state over bucket l of the tokens so far.

    Buckets are the token itself, and 1, 2, 4, ... tokens before it as the binary form of their number has them. The
    weights of a head are w_t^l = softplus(L_l * (W_l x_t)), with L one at the start.

    Args:
        dims: sizes of the model.
        levels: weights of a head; the last serves all larger buckets, too.
        options: those of the mixer.

    Class attributes:
        bucket_flops: FLOPs of a decode step on an element of a bucket before the token.
    """

    bucket_flops: ClassVar[int]

    def __init__(self, dims: Dims, *, levels: int = 15, **options: Any):
        super().__init__(dims, **options)
        self.levels = positive("levels", levels)
        self.sizes[2] += self.heads * levels
        self.input = nn.Linear(dims.width, sum(self.sizes), bias=False)
        self.scales = nn.Parameter(torch.ones(self.heads * levels))

    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Any, ...]:
        """What the mixer takes, weights of the levels [..., H, L], and the position."""
        own = extra.shape[-1] - self.heads * self.levels
        rest, weights = extra.tensor_split([own], -1)
        weights = F.softplus(self.scales * weights).unflatten(-1, (self.heads, self.levels))
        return *super().recurrence(qk, v, rest, position), weights, position  # type: ignore[safe-super]

    def initial_state(self, batch: int) -> State:
        """No bucket."""
        state = super().initial_state(batch)
        return {**state, "memory": state["memory"][:, None][:, :0]}

    def state_after(self, batch: int, context: int) -> State:
        """Buckets of zeros."""
        state = self.initial_state(batch)
        memory = state["memory"].new_zeros(batch, context.bit_length(), *state["memory"].shape[2:])
        return {**state, "memory": memory, "position": context}

    def cost(self) -> PartCost:
        """A state for every bit of the number of tokens; the token itself is written and read."""
        cost = super().cost()
        elements = cost.state_elements
        buckets = Cache(
            elements=elements, flops=float(self.bucket_flops * elements), levels=True, fp32=True,
            prefill_flops=2.0 * elements,
        )  # fmt: skip
        return replace(
            cost,
            caches=(buckets,),
            state_elements=0,
            decode_flops=cost.decode_flops - (self.flops_per_element - 4) * elements,
            prefill_flops=cost.prefill_flops - 2 * elements,
        )
