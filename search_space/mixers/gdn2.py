"""Gated DeltaNet-2."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kernels import dplr, dplr_step
from search_space.checks import head_size
from search_space.parts.base import Dims
from search_space.parts.matrix_state import DeltaRuleMixer
from search_space.parts.nn import step_bias, unit_length

RATES = 1.0, 16.0


class GatedDeltaNet2(DeltaRuleMixer):
    """Gated DeltaNet-2 (2605.22791): KDA whose erasing and writing have gates of their own, for each element.

    S_t = (I - k_t (b_t * k_t)^T) diag(a_t) S_{t-1} + k_t (w_t * v_t)^T with b_t = sigmoid(W_b x_t) for each key element
    and w_t = sigmoid(W_w x_t) for each value element. All else is KDA's (2510.26692): log a_t = -A softplus(W_2 W_1 x_t
    + c) of rank V, A uniform in [1, 16] for each head, softplus(c) log-uniform in [.001, .1]; queries and keys of unit
    length after a short convolution and SiLU (values as well); an RMS norm for each head, and a sigmoid gate of rank V
    with a bias.

    Args:
        dims: sizes of the model.
        heads: number of heads; None means one for every 128 of the width.
        key_size: of each head; None means width / heads.
        value_size: of each head, and the rank of the decay and of the gate; None means width / heads.
        conv: width of the short convolution over queries, keys and values; 0 means none.

    Raises:
        InputError: sizes that are not positive integers or do not divide.
    """

    source = "Gated DeltaNet-2: Decoupling Erase and Write in Linear Attention (arXiv 2605.22791)"

    operator = staticmethod(dplr)
    step_operator = staticmethod(dplr_step)
    flops_per_element = 7

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        conv: int = 4,
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
            activation=True,
            gated=True,
            gate_size=value_size,
            extra=heads * (key_size + value_size) + value_size,
        )
        self.decay = nn.Linear(value_size, heads * key_size, bias=False)
        self.gate = nn.Linear(value_size, heads * value_size)
        self.log_rate = nn.Parameter(torch.empty(heads).uniform_(*RATES).log())
        self.step_bias = nn.Parameter(step_bias(heads * key_size))

    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Tensor | None, ...]:
        """Unit queries and keys, values to write, what reads the state to erase it, where to, decay by key element."""
        q, k = unit_length(qk).chunk(2, -2)
        erase, write, low = extra.split([self.heads * self.key_size, self.heads * self.value_size, self.value_size], -1)
        step = F.softplus(self.decay(low) + self.step_bias).unflatten(-1, (self.heads, -1))
        log_decay = -self.log_rate.exp()[:, None] * step
        erase = erase.sigmoid().unflatten(-1, (self.heads, -1)) * log_decay.exp()  # it reads what has decayed
        return q, k, v * write.sigmoid().unflatten(-1, (self.heads, -1)), -(erase * k), k, log_decay

    def read(self, o: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        """The norm of each head, then the gate through a sigmoid."""
        return self.norm(o).flatten(-2) * self.gate(gate).sigmoid()
