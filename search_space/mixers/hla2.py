"""Higher-order linear attention of the second order."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from kernels import linear_attention, linear_attention_step
from search_space.checks import head_size
from search_space.parts.base import Dims, PartCost
from search_space.parts.matrix_state import CHUNK, MatrixStateMixer

FLOPS = 4
"""Of a step on an element of a state, which does not decay: two for writing, two for reading."""


class HLA2(MatrixStateMixer):
    """Higher-order linear attention (HLA, 2510.27258, section 3), second order: attention weights of two products.

    o_t = sum_{s <= t} (A A^T)_ts v_s for causal A = tril(Q K^T) / K^1/2, then an RMS norm of each head; no decay, no
    gate, no positions. The sum is linear attention whose keys are themselves read from a state: o_t = D_t^T q_t with
    D_t = D_{t-1} + u_t v_t^T, u_t = S_t q_t and S_t = S_{t-1} + k_t k_t^T. The paper keeps S, C and G, of which D is S
    C - G: this takes less memory, and no difference of large numbers.

    The paper trains no language model. Sizes are those of other mixers with a matrix state; the norm takes the place of
    the paper's optional sum of weights, which can be zero.

    Args:
        dims: sizes of the model.
        heads: number of heads; None means one for every 128 of the width.
        key_size: of each head; None means width / heads.
        value_size: of each head; None means width / heads.
        conv: width of a short convolution (with SiLU) over queries, keys and values; 0 means none.

    Raises:
        InputError: sizes that are not positive integers or do not divide.
    """

    source = "Higher-order Linear Attention (arXiv 2510.27258)"

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        conv: int = 0,
    ):
        heads = max(1, dims.width // 128) if heads is None else heads
        super().__init__(
            dims,
            heads=heads,
            key_size=head_size("key_size", key_size, heads, dims.width),
            value_size=head_size("value_size", value_size, heads, dims.width),
            conv=conv,
            activation=conv > 0,
            gated=False,
        )

    @staticmethod
    def operator(
        q: Tensor, k: Tensor, v: Tensor, *, initial_state: Tensor | None, scale: float | None
    ) -> tuple[Tensor, Tensor]:
        """Linear attention to keys, then to values under what was read. State: S and D side by side."""
        first, second = _states(initial_state, k)
        u, first = linear_attention(q, k, k, initial_state=first, scale=scale)
        o, second = linear_attention(q, u, v, initial_state=second, scale=scale)
        return o, torch.cat([first, second], -1)

    @staticmethod
    def step_operator(q: Tensor, k: Tensor, v: Tensor, state: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
        """The same for a token."""
        first, second = _states(state, k)
        u, first = linear_attention_step(q, k, k, None, first, **options)
        o, second = linear_attention_step(q, u, v, None, second, **options)
        return o, torch.cat([first, second], -1)

    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Tensor | None, ...]:
        """Queries, keys and values as they are."""
        q, k = qk.chunk(2, -2)
        return q, k, v

    @property
    def state_sizes(self) -> tuple[int, int]:
        """Keys times keys, and keys times values."""
        return self.key_size, self.key_size + self.value_size

    def cost(self) -> PartCost:
        """Two recurrences without decay."""
        rows, columns = self.state_sizes
        elements = self.heads * rows * columns
        within = CHUNK * self.heads * (2 * rows + columns)
        return replace(super().cost(), decode_flops=float(FLOPS * elements), prefill_flops=4.0 * elements + within)


def _states(state: Any, k: Tensor) -> Any:
    return (None, None) if state is None else state.tensor_split([k.shape[-1]], -1)
