"""Gated linear attention."""

from dataclasses import replace

from torch import Tensor, nn
from torch.nn import functional as F

from search_space.checks import head_size, switch
from search_space.errors import InputError, one_of
from search_space.parts.base import Dims, PartCost
from search_space.parts.feature_maps import SoftmaxPair
from search_space.parts.matrix_state import MatrixStateMixer

GATE_RANK = 16
GATE_TEMPERATURE = 16.0
GATES = ["plain", "refined"]
SMALLEST = 1e-20
"""Least sum of weights that outputs are divided by."""


class GatedLinearAttention(MatrixStateMixer):
    """Gated linear attention (2312.06635, section 4): each key element forgets at a rate that the token sets.

    S_t = diag(a_t) S_{t-1} + k_t v_t^T with a_t = sigmoid(W_2 W_1 x_t + b)^(1/16) of rank 16, an RMS norm for
    each head and a SiLU gate. Keys are half as wide as the model.

    With a refined gate (ReGLA, 2502.01578, section 3.3) a_t = (1 - r) g^2 + r (1 - (1 - g)^2) instead, for g and r that
    are sigmoids of rank 16: where g is near 0 or 1 and its slope small, a can still move.

    Normalised, as in LAWCAT (2509.18467), queries and keys pass the map of LoLCATs, as many features as a key has
    elements, and what is read is divided by the sum of weights, a further column of the state. LAWCAT has a short
    convolution of width 4 ahead, which is `conv`; there it leaves values alone and has no SiLU, and the norm, the gate
    and the temperature of the decay are this paper's.

    Args:
        dims: sizes of the model.
        heads: number of heads.
        key_size: of each head; None means width / 2 / heads.
        value_size: of each head; None means width / heads.
        conv: width of a short convolution (with SiLU) over queries, keys and values; 0 means none.
        gate: plain or refined.
        normalised: whether outputs are divided by the sum of weights.

    Raises:
        InputError: sizes that are not positive integers or do not divide, an unknown gate, an odd key size where
            features are halves of it.
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
        normalised: bool = False,
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
        if switch("normalised", normalised) and self.key_size % 2:
            raise InputError("key_size", self.key_size, "an even number, of which half are features of either sign")
        self.map = SoftmaxPair(heads, self.key_size, self.key_size // 2) if normalised else None

    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Tensor | None, ...]:
        """Queries, keys and values as they are, or features, values and a one; decay by key element."""
        q, k = qk.chunk(2, -2)
        if self.map is not None:
            q, k, v = self.map(q, False), self.map(k, True), F.pad(v, (0, 1), value=1.0)
        log_gate = F.logsigmoid(self.decay(extra[..., :GATE_RANK]))
        if self.refinement is None:
            log_decay = log_gate / GATE_TEMPERATURE
        else:  # a = g (g + 2 r (1 - g))
            g, r = log_gate.exp(), self.refinement(extra[..., GATE_RANK:]).sigmoid()
            log_decay = log_gate + (g + 2 * r * (1 - g)).log()
        return q, k, v, log_decay.unflatten(-1, (self.heads, self.key_size))

    def read(self, o: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        """Over the sum of weights where there is one, then as usual."""
        if self.map is not None:
            o = o[..., :-1] / o[..., -1:].clamp(min=SMALLEST)
        return super().read(o, v, gate)

    @property
    def state_sizes(self) -> tuple[int, int]:
        """Keys, and values with the sum of weights."""
        return self.key_size, self.value_size + (self.map is not None)

    def cost(self) -> PartCost:
        """With the matrices of the map."""
        cost = super().cost()
        products = 0 if self.map is None else self.map.maps.weight.numel()
        return replace(cost, product_flops=cost.product_flops + 2.0 * products)
