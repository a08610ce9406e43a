"""Log-linear Mamba-2."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kernels import log_linear_attention, log_linear_attention_step
from search_space.checks import positive
from search_space.mixers.mamba2 import Mamba2
from search_space.parts.base import Cache, Dims, PartCost, State
from search_space.parts.matrix_state import CHUNK


class LogLinearMamba2(Mamba2):
    """Log-linear attention on Mamba-2 (2506.04761, section 3): a state for every power of two in the number of tokens.

    y_t = sum_l w_t^l (S_t^l)^T C_t + D x_t, where S^l is Mamba-2's state over bucket l of the tokens so far: the token
    itself, and buckets of 1, 2, 4, ... tokens before it as the binary form of their number has them. The weights of a
    head are w_t^l = softplus(L_l * (W_l x_t)), with L one at the start. All else is Mamba-2's.

    Args:
        dims: sizes of the model.
        levels: weights of a head; the last serves all larger buckets, too.
        options: those of `Mamba2`.

    Raises:
        InputError: a number of levels that is not positive, and as `Mamba2`.
    """

    family = "ssm"
    source = "Log-Linear Attention (arXiv 2506.04761)"

    operator = staticmethod(log_linear_attention)
    step_operator = staticmethod(log_linear_attention_step)

    def __init__(self, dims: Dims, *, levels: int = 15, **options: Any):
        super().__init__(dims, **options)
        self.levels = positive("levels", levels)
        self.sizes[2] += self.heads * levels
        self.input = nn.Linear(dims.width, sum(self.sizes), bias=False)
        self.scales = nn.Parameter(torch.ones(self.heads * levels))

    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Any, ...]:
        """What Mamba-2 takes, weights of the levels [..., H, levels], and the position."""
        step, weights = extra.split([self.heads, self.heads * self.levels], -1)
        weights = F.softplus(self.scales * weights).unflatten(-1, (self.heads, self.levels))
        return *super().recurrence(qk, v, step, position), weights, position

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
        """A state for every bit of the number of tokens: decay and reading, and for the token itself writing."""
        cost = super().cost()
        elements, skip = cost.state_elements, 2.0 * self.heads * self.value_size
        within = CHUNK * self.heads * (self.key_size + self.value_size)
        buckets = Cache(elements=elements, flops=3.0 * elements, levels=True, fp32=True, prefill_flops=2.0 * elements)
        return replace(
            cost,
            caches=(buckets,),
            state_elements=0,
            decode_flops=4.0 * elements + skip,
            prefill_flops=2.0 * elements + within + skip,
        )
