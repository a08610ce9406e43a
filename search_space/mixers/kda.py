"""Kimi Delta Attention."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.checks import head_size, switch
from search_space.parts.base import Dims
from search_space.parts.matrix_state import DeltaRuleMixer
from search_space.parts.nn import step_bias, unit_length

RATES = 1.0, 16.0
FASTEST = -5.0
"""Log of the smallest factor that a bounded decay has."""


class KDA(DeltaRuleMixer):
    """Kimi Delta Attention (2510.26692, equation 1 and section 4): Gated DeltaNet that forgets by key element.

    S_t = (I - b_t k_t k_t^T) diag(a_t) S_{t-1} + b_t k_t v_t^T with b_t = sigmoid(W_b x_t) for each head and log a_t =
    -A softplus(W_2 W_1 x_t + c) for each key element, of rank V: A starts uniform in [1, 16] for each head, softplus(c)
    log-uniform in [.001, .1]. Queries and keys have unit length after a short convolution and SiLU (values as well).
    An RMS norm for each head and a sigmoid gate of rank V follow, without bias as in the released weights.

    The bounded decay, of later models (Ling 3.0), is log a_t = -5 sigmoid(A (W_2 W_1 x_t + c)), where A starts at one.

    Args:
        dims: sizes of the model.
        heads: number of heads; None means one for every 128 of the width.
        key_size: of each head; None means width / heads.
        value_size: of each head, and the rank of the decay and of the gate; None means width / heads.
        conv: width of the short convolution over queries, keys and values; 0 means none.
        negative_eigenvalues: whether the writing strength is doubled, so that a step can also turn a part of the state
            around (2411.12537).
        bounded: whether the decay is.

    Raises:
        InputError: sizes that are not positive integers or do not divide, or a switch that is none.
    """

    source = "Kimi Linear: An Expressive, Efficient Attention Architecture (arXiv 2510.26692)"

    flops_per_element = 7

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        conv: int = 4,
        negative_eigenvalues: bool = False,
        bounded: bool = False,
    ):
        heads = max(1, dims.width // 128) if heads is None else heads
        value_size = head_size("value_size", value_size, heads, dims.width)
        super().__init__(
            dims,
            heads=heads,
            key_size=head_size("key_size", key_size, heads, dims.width),
            value_size=value_size,
            conv=conv,
            activation=True,
            gated=True,
            gate_size=value_size,
            extra=heads + value_size,
        )
        self.strongest = 2.0 if switch("negative_eigenvalues", negative_eigenvalues) else 1.0
        self.decay = nn.Linear(value_size, heads * self.key_size, bias=False)
        self.gate = nn.Linear(value_size, heads * value_size, bias=False)
        self.bounded = switch("bounded", bounded)
        rates = torch.ones(heads) if bounded else torch.empty(heads).uniform_(*RATES)
        self.log_rate = nn.Parameter(rates.log())
        self.step_bias = nn.Parameter(step_bias(heads * self.key_size))

    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Tensor | None, ...]:
        """Unit queries and keys, values, writing strength, decay by key element."""
        q, k = unit_length(qk).chunk(2, -2)
        strength, low = extra.split([self.heads, self.value_size], -1)
        rate = self.log_rate.exp()[:, None]
        step = (self.decay(low) + self.step_bias).unflatten(-1, (self.heads, self.key_size))
        log_decay = FASTEST * (rate * step).sigmoid() if self.bounded else -rate * F.softplus(step)
        return q, k, v, self.strongest * strength.sigmoid(), log_decay

    def read(self, o: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        """The norm of each head, then the gate through a sigmoid."""
        return self.norm(o).flatten(-2) * self.gate(gate).sigmoid()
