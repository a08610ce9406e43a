"""Gated linear attention."""

from torch import Tensor, nn
from torch.nn import functional as F

from search_space.checks import head_size
from search_space.errors import InputError, one_of
from search_space.parts.base import Dims
from search_space.parts.matrix_state import MatrixStateMixer

GATE_RANK = 16
GATE_TEMPERATURE = 16.0
GATES = ["plain", "refined"]


class GatedLinearAttention(MatrixStateMixer):
    """Gated linear attention (2312.06635, section 4): each key element forgets at a rate that the token sets.

    S_t = diag(a_t) S_{t-1} + k_t v_t^T with a_t = sigmoid(W_2 W_1 x_t + b)^(1/16) of rank 16, an RMS norm for
    each head and a SiLU gate. Keys are half as wide as the model.

    With a refined gate (ReGLA, 2502.01578, section 3.3) a_t = (1 - r) g^2 + r (1 - (1 - g)^2) instead, for g and r that
    are sigmoids of rank 16: where g is near 0 or 1 and its slope small, a can still move.

    Args:
        dims: sizes of the model.
        heads: number of heads.
        key_size: of each head; None means width / 2 / heads.
        value_size: of each head; None means width / heads.
        conv: width of a short convolution (with SiLU) over queries, keys and values; 0 means none.
        gate: plain or refined.

    Raises:
        InputError: sizes that are not positive integers or do not divide, or an unknown gate.
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
        gate: str = "plain",
    ):
        if gate not in GATES:
            raise InputError("gate", gate, one_of(gate, GATES))
        refined = gate == "refined"
        super().__init__(
            dims,
            heads=heads,
            key_size=head_size("key_size", key_size, heads, dims.width // 2),
            value_size=head_size("value_size", value_size, heads, dims.width),
            conv=conv,
            activation=conv > 0,
            gated=True,
            extra=GATE_RANK * (1 + refined),
        )
        self.decay = nn.Linear(GATE_RANK, heads * self.key_size)
        self.refinement = nn.Linear(GATE_RANK, heads * self.key_size) if refined else None

    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Tensor | None, ...]:
        """Queries, keys and values as they are; decay by key element."""
        q, k = qk.chunk(2, -2)
        log_gate = F.logsigmoid(self.decay(extra[..., :GATE_RANK]))
        if self.refinement is None:
            log_decay = log_gate / GATE_TEMPERATURE
        else:  # a = g (g + 2 r (1 - g))
            g, r = log_gate.exp(), self.refinement(extra[..., GATE_RANK:]).sigmoid()
            log_decay = log_gate + (g + 2 * r * (1 - g)).log()
        return q, k, v, log_decay.unflatten(-1, (self.heads, self.key_size))
