"""RetNet."""

import torch
from torch import Tensor

from kernels import rotary
from search_space.checks import head_size, rotary_base
from search_space.parts.base import Dims
from search_space.parts.matrix_state import MatrixStateMixer


class RetNet(MatrixStateMixer):
    """Multi-scale retention (2307.08621, equations 6-8): each head forgets at a fixed rate of its own.

    S_t = gamma_h S_{t-1} + k_t v_t^T with gamma_h = 1 - 2^(-5 - h), rotary queries and keys, a norm for each
    head (RMS, as the released models have it) and a SiLU gate. Values are twice as wide as the model.

    Args:
        dims: sizes of the model.
        heads: number of heads.
        key_size: of each head, even; None means width / heads.
        value_size: of each head; None means 2 width / heads.
        conv: width of a short convolution (with SiLU) over queries, keys and values; 0 means none.
        rope_theta: base of the rotary wavelengths.

    Raises:
        InputError: sizes that are not positive integers, do not divide, or an odd key size.
    """

    source = "Retentive Network: A Successor to Transformer for Large Language Models (arXiv 2307.08621)"

    log_decay: Tensor

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int = 8,
        key_size: int | None = None,
        value_size: int | None = None,
        conv: int = 0,
        rope_theta: float = 10000.0,
    ):
        super().__init__(
            dims,
            heads=heads,
            key_size=head_size("key_size", key_size, heads, dims.width),
            value_size=head_size("value_size", value_size, heads, 2 * dims.width),
            conv=conv,
            activation=conv > 0,
            gated=True,
        )
        self.rope_theta = rotary_base(rope_theta, self.key_size)
        self.register_buffer("log_decay", torch.log1p(-(2.0 ** (-5 - torch.arange(heads)))), persistent=False)

    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Tensor | None, ...]:
        """Rotated queries and keys, values, the fixed decay."""
        q, k = rotary(qk, position, self.rope_theta).chunk(2, -2)
        return q, k, v, self.log_decay
