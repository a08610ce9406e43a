"""HGRN2."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.mixers.base import Dims
from search_space.mixers.matrix_state import MatrixStateMixer
from search_space.mixers.options import head_size, number


class HGRN2(MatrixStateMixer):
    """HGRN2 (2404.07904, section 3): a gated recurrence whose state an outer product has widened.

    S_t = diag(f_t) S_{t-1} + (1 - f_t) v_t^T with f_t = sigmoid(W x_t + b): what is forgotten makes the key.
    Queries go through SiLU, the output through one RMS norm over all heads.

    The paper keeps f_t above a learned lower bound that rises from layer to layer. A mixer does not know its
    depth, so a learned bias b that starts high does the same work: forget gates start near 1. (Starting at 0,
    small models learn no recall; the lower bounds have as many parameters as the bias.)

    Args:
        dims: sizes of the model.
        heads: number of heads; None means one for every 128 of the width.
        key_size: of each head, the paper's expansion ratio; None means width / heads.
        value_size: of each head; None means width / heads.
        conv: width of a short convolution over queries, forget gates and values; 0 means none.
        forget_bias: initial value of b.

    Raises:
        InputError: sizes that are not positive integers or do not divide.
    """

    source = "HGRN2: Gated Linear RNNs with State Expansion (arXiv 2404.07904)"
    state_formula = "heads x key_size x value_size (default 128 x width)"
    flops_formula = "7 x state"
    flops_per_element = 7

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        conv: int = 0,
        forget_bias: float = 3.0,
    ):
        heads = max(1, dims.width // 128) if heads is None else heads
        key_size = head_size("key_size", key_size, heads, dims.width)
        value_size = head_size("value_size", value_size, heads, dims.width)
        super().__init__(
            dims,
            heads=heads,
            key_size=key_size,
            value_size=value_size,
            conv=conv,
            activation=False,
            gated=False,
            norm_size=heads * value_size,
        )
        self.forget_bias = nn.Parameter(torch.full((heads * key_size,), number("forget_bias", forget_bias)))

    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Tensor | None, ...]:
        """Queries, the complement of the forget gates as keys, values, the forget gates as decay."""
        q, forget = qk.chunk(2, -2)
        forget = forget + self.forget_bias.view(self.heads, self.key_size)
        return F.silu(q), torch.sigmoid(-forget), v, F.logsigmoid(forget)
