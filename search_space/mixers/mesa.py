"""The Mesa layer."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kernels import mesa, mesa_step
from search_space.checks import head_size, positive
from search_space.parts.base import Dims, PartCost
from search_space.parts.matrix_state import CHUNK, MatrixStateMixer
from search_space.parts.nn import ShortConvolution, unit_length

LEAST, INITIAL = 0.25, 1.0
"""Smallest and first ridge."""
VECTORS = 12
"""FLOPs that a step of the solver spends on an element of a key: six sums of products."""


class Mesa(MatrixStateMixer):
    """The Mesa layer (2506.05233, section 3): each token reads by the linear map that fits all tokens so far best.

    o_t = G_t^T (H_t + L)^-1 q_t with H_t = a_t H_{t-1} + b_t k_t k_t^T and G_t = a_t G_{t-1} + b_t k_t v_t^T: the
    solution of least squares from keys to values, with weights b_t = sigmoid(w_b x_t + c_b) that fade by a_t =
    sigmoid(w_a x_t + c_a) for each head, and a ridge L = .25 + softplus(l) for each key element that starts at 1. It is
    found by conjugate gradients. Queries and keys have unit length after a short convolution and SiLU; values have
    neither. An RMS norm of each head follows, no gate.

    The solver takes as many steps in training as in decoding, 30 as in the paper's main models. The paper can also stop
    early, where a residual is small; costs here are without that.

    Args:
        dims: sizes of the model.
        heads: number of heads; None means one for every 128 of the width.
        key_size: of each head; None means width / heads.
        value_size: of each head; None means width / heads.
        conv: width of the short convolution over queries and keys; 0 means none.
        steps: of the solver.

    Raises:
        InputError: sizes that are not positive integers or do not divide.
    """

    source = "MesaNet: Sequence Modeling by Locally Optimal Test-Time Training (arXiv 2506.05233)"
    family = "delta"

    operator = staticmethod(mesa)
    step_operator = staticmethod(mesa_step)
    query_scale = 1.0

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        conv: int = 4,
        steps: int = 30,
    ):
        heads = max(1, dims.width // 128) if heads is None else heads
        super().__init__(
            dims,
            heads=heads,
            key_size=head_size("key_size", key_size, heads, dims.width),
            value_size=head_size("value_size", value_size, heads, dims.width),
            conv=0,
            activation=False,
            gated=False,
            extra=2 * heads,
        )
        self.steps = positive("steps", steps)
        self.conv = ShortConvolution(2 * heads * self.key_size, conv, activation=True)
        self.gate_bias = nn.Parameter(torch.empty(2 * heads).uniform_(-1, 1) * dims.width**-0.5)
        first = torch.full((heads * self.key_size,), INITIAL - LEAST)
        self.ridge = nn.Parameter(first.expm1().log())

    def convolve(self, features: Tensor, extra: Tensor, cache: Tensor | None) -> tuple[Tensor, Tensor]:
        """Queries and keys alone."""
        qk, v = features.tensor_split([self.conv.channels], -1)
        qk, cache = self.conv(qk, cache)
        return torch.cat([qk, v], -1), cache

    def convolve_step(self, features: Tensor, extra: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys alone."""
        qk, v = features.tensor_split([self.conv.channels], -1)
        qk, cache = self.conv.step(qk, cache)
        return torch.cat([qk, v], -1), cache

    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Tensor | int, ...]:  # type: ignore[override]
        """Unit queries and keys, values, weight and decay by head, ridge, steps."""
        q, k = unit_length(qk).chunk(2, -2)
        weight, keep = (extra + self.gate_bias).chunk(2, -1)
        ridge = (LEAST + F.softplus(self.ridge)).unflatten(0, (self.heads, -1)).expand(q.shape[0], -1, -1)
        return q, k, v, weight.sigmoid(), F.logsigmoid(keep), ridge, self.steps

    @property
    def state_sizes(self) -> tuple[int, int]:
        """Keys times keys, and keys times values."""
        return self.key_size, self.key_size + self.value_size

    def cost(self) -> PartCost:
        """Both states, of which the second is read, and the solver: a product with the first, and vectors, a step."""
        rows, columns = self.state_sizes
        written, read = self.heads * rows * columns, self.heads * rows * self.value_size
        vectors = VECTORS * self.heads * rows
        step = 2.0 * self.heads * rows * rows
        step_of_prompt = step + 2 * CHUNK * self.heads * rows
        within = CHUNK * self.heads * (rows + self.value_size)
        return replace(
            super().cost(),
            decode_flops=3.0 * written + 2 * read + self.steps * (step + vectors),
            prefill_flops=2.0 * written + 2 * read + within + self.steps * (step_of_prompt + vectors),
        )
