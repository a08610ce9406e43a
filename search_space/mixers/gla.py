"""Gated linear attention."""

from torch import Tensor, nn
from torch.nn import functional as F

from search_space.checks import head_size
from search_space.parts.base import Dims
from search_space.parts.matrix_state import MatrixStateMixer

GATE_RANK = 16
GATE_TEMPERATURE = 16.0


class GatedLinearAttention(MatrixStateMixer):
    """Gated linear attention (2312.06635, section 4): each key element forgets at a rate that the token sets.

    S_t = diag(a_t) S_{t-1} + k_t v_t^T with a_t = sigmoid(W_2 W_1 x_t + b)^(1/16) of rank 16, an RMS norm for
    each head and a SiLU gate. Keys are half as wide as the model.

    Args:
        dims: sizes of the model.
        heads: number of heads.
        key_size: of each head; None means width / 2 / heads.
        value_size: of each head; None means width / heads.
        conv: width of a short convolution (with SiLU) over queries, keys and values; 0 means none.

    Raises:
        InputError: sizes that are not positive integers or do not divide.
    """

    source = "Gated Linear Attention Transformers with Hardware-Efficient Training (arXiv 2312.06635)"

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int = 4,
        key_size: int | None = None,
        value_size: int | None = None,
        conv: int = 0,
    ):
        super().__init__(
            dims,
            heads=heads,
            key_size=head_size("key_size", key_size, heads, dims.width // 2),
            value_size=head_size("value_size", value_size, heads, dims.width),
            conv=conv,
            activation=conv > 0,
            gated=True,
            extra=GATE_RANK,
        )
        self.decay = nn.Linear(GATE_RANK, heads * self.key_size)

    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Tensor | None, ...]:
        """Queries, keys and values as they are; decay by key element."""
        q, k = qk.chunk(2, -2)
        log_decay = F.logsigmoid(self.decay(extra)) / GATE_TEMPERATURE
        return q, k, v, log_decay.unflatten(-1, (self.heads, self.key_size))
