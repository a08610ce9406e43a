"""Mamba-2."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kernels import rms_norm
from search_space.checks import positive
from search_space.errors import InputError
from search_space.parts.base import Dims, PartCost
from search_space.parts.matrix_state import MatrixStateMixer
from search_space.parts.nn import OutputGate, enlarge_steps, step_bias

RATES = 1.0, 16.0
KEY_SIZE = 128


class Mamba2(MatrixStateMixer):
    """Mamba-2 (2405.21060, equation 1 with scalar A, and section 7): linear attention whose steps set the decay.

    S_t = exp(-A_h dt_t) S_{t-1} + B_t (dt_t x_t)^T and y_t = S_t^T C_t + D_h x_t with dt_t = softplus(W x_t + b) for
    each head: C and B are queries and keys, shared by the heads of a group, and x are values. A short convolution
    with bias and SiLU runs over all three. The output is RMSNorm(y * silu(z)): first the gate, then the norm, over
    the heads of a group. Initial values: A uniform in [1, 16], softplus(b) log-uniform in [.001, .1], D = 1.

    Args:
        dims: sizes of the model.
        heads: number of heads; None means one for every `value_size` of twice the width.
        key_size: of each head, N in the paper.
        value_size: of each head, P in the paper.
        n_groups: groups of heads that share queries and keys.
        conv: width of the short convolution over queries, keys and values; 0 means none.

    Raises:
        InputError: sizes that are not positive integers or do not divide.
    """

    source = "Transformers are SSMs: Generalized Models and Efficient Algorithms (arXiv 2405.21060)"
    family = "ssm"

    query_scale = 1.0

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int = KEY_SIZE,
        value_size: int = 64,
        n_groups: int = 1,
        conv: int = 4,
    ):
        heads = max(1, 2 * dims.width // positive("value_size", value_size)) if heads is None else heads
        if positive("heads", heads) % positive("n_groups", n_groups):
            raise InputError("n_groups", n_groups, f"a divisor of heads={heads}")
        super().__init__(
            dims,
            heads=heads,
            key_size=key_size,
            value_size=value_size,
            conv=conv,
            activation=True,
            gated=True,
            extra=heads,
            norm_size=heads * value_size,
            key_heads=n_groups,
            conv_bias=True,
        )
        self.log_rate = nn.Parameter(torch.empty(heads).uniform_(*RATES).log())
        self.step_bias = nn.Parameter(step_bias(heads))
        self.skip = nn.Parameter(torch.ones(heads))
        self.output_gate = OutputGate()

    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Tensor | None, ...]:
        """C and B of each group, dt x, decay by head."""
        q, k = qk.chunk(2, -2)
        step = F.softplus(extra + self.step_bias)  # autocast leaves sums with parameters in float32
        return q, k, (step[..., None] * v).to(v.dtype), -self.log_rate.exp() * step

    def read(self, o: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        """D x, the gate, then the norm of each group."""
        y = (o + (self.skip[:, None] * v).to(v.dtype)).flatten(-2) * self.output_gate(gate)
        if self.key_heads == 1:
            return self.norm(y)
        y = y.unflatten(-1, (self.key_heads, -1))
        y = rms_norm(y, y.new_ones(y.shape[-1]), eps=self.norm.eps).flatten(-2)
        return (y * self.norm.weight).to(y.dtype)

    def open_gates(self) -> None:
        """And steps that are larger as keys are smaller than published.

        What is read is a sum over the elements of a key, times the step. Beside D x it is as large as published.
        """
        super().open_gates()
        enlarge_steps(self.step_bias, self.log_rate, KEY_SIZE / self.key_size)

    def cost(self) -> PartCost:
        """With the products with D."""
        cost, skip = super().cost(), 2.0 * self.heads * self.value_size
        return replace(cost, decode_flops=cost.decode_flops + skip, prefill_flops=cost.prefill_flops + skip)
