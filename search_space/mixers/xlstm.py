"""xLSTM's matrix memory."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.checks import head_size
from search_space.parts.base import Dims
from search_space.parts.matrix_state import MatrixStateMixer

CAP = 15.0
"""Largest size of what gates are made from. So the exponential gate needs no running maximum in float32."""
CLOSED = -10.0
"""Initial bias of input gates."""
FORGETTING = 3.0, 6.0
"""Initial biases of forget gates, evenly spaced over the heads."""
EPS = 1e-6


class XLSTM(MatrixStateMixer):
    """The mLSTM layer of xLSTM 7B (2503.13427, section 3; cell of 2405.04517, section 2.3): exponential input gates.

    C_t = f_t C_{t-1} + i_t k_t v_t^T, n_t = f_t n_{t-1} + i_t k_t and h_t = C_t^T q_t / max(|n_t . q_t|, 1), queries
    times K^-1/2, with i_t = exp(cap(w_i x_t + b_i)) and f_t = sigmoid(cap(w_f x_t + b_f)) for each head and cap(x) = 15
    tanh(x / 15). A layer norm of each head with gains and a sigmoid gate follow; keys are half as wide as the model.
    Initial values: w_i = w_f = 0, b_i = -10, b_f evenly from 3 to 6 over the heads. n is one more column of the state.

    The released code keeps C and n divided by the largest input gate so far. The cap makes that needless, and the sum
    is the same but for the 1e-6 that is added to the divisor there.

    Args:
        dims: sizes of the model.
        heads: number of heads; None means one for every 512 of the width, as in xLSTM 7B.
        key_size: of each head; None means width / 2 / heads.
        value_size: of each head; None means width / heads.
        conv: width of a short convolution (with SiLU) over queries, keys and values; 0 means none.

    Raises:
        InputError: sizes that are not positive integers or do not divide.
    """

    source = "xLSTM 7B: A Recurrent LLM for Fast and Efficient Inference (arXiv 2503.13427)"

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        conv: int = 0,
    ):
        heads = max(1, dims.width // 512) if heads is None else heads
        super().__init__(
            dims,
            heads=heads,
            key_size=head_size("key_size", key_size, heads, dims.width // 2),
            value_size=head_size("value_size", value_size, heads, dims.width),
            conv=conv,
            activation=conv > 0,
            gated=True,
            extra=2 * heads,
        )
        del self.norm
        nn.init.zeros_(self.input.weight.data[-2 * heads :])
        self.gate_bias = nn.Parameter(torch.cat([torch.full((heads,), CLOSED), torch.linspace(*FORGETTING, heads)]))
        self.gain = nn.Parameter(torch.ones(heads * self.value_size))

    @property
    def state_sizes(self) -> tuple[int, int]:
        """Values, and the sum of keys."""
        return self.key_size, self.value_size + 1

    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Tensor | None, ...]:
        """Queries, keys, values and a one times the input gate, decay by head."""
        q, k = qk.chunk(2, -2)
        gates = CAP * torch.tanh((extra + self.gate_bias) / CAP)
        enter, keep = gates.chunk(2, -1)
        written = (F.pad(v, (0, 1), value=1.0) * enter.exp()[..., None]).to(v.dtype)
        return q, k, written, F.logsigmoid(keep)

    def read(self, o: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        """Over the sum of weights, the norm of each head, then the gate."""
        h = o[..., :-1] / o[..., -1:].abs().clamp(min=1.0)
        h = F.layer_norm(h, h.shape[-1:], eps=EPS).flatten(-2)
        return (self.gain * h).to(gate.dtype) * gate.sigmoid()
