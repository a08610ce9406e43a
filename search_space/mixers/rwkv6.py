"""RWKV-6."""

import torch
from torch import Tensor, nn

from kernels import linear_attention
from search_space.checks import positive
from search_space.parts.base import Dims, PartCost, Scaling
from search_space.parts.matrix_state import CHUNK
from search_space.parts.nn import BlockLinear, OutputGate
from search_space.parts.rwkv import NEAR_ZERO, SMALL, LowRank, Place, TimeMixing, later


class RWKV6(TimeMixing):
    """RWKV-6 "Finch" time mixing (2404.05892, section 4): linear attention that reads before it writes.

    o_t = r_t^T (S_{t-1} + diag(u) k_t v_t^T) and S_t = diag(w_t) S_{t-1} + k_t v_t^T for each head, with log w_t =
    -exp(w_0 + W_2 tanh(W_1 x_t)), then a layer norm of each head and a SiLU gate. The five inputs, of w, k, v, r and g,
    are each x_t + (mu_j + L_j) * (x_{t-1} - x_t), where L_j = B_j tanh(A_j (x_t + mu (x_{t-1} - x_t))) depends on the
    token. Initial values are the authors', which depend on depth; but low-rank maps start near zero, not at zero (see
    `LowRank`). The channel mixer of the paper, squared ReLU with a token shift and a gate, is none of those here.

    Args:
        dims: sizes of the model, and the place in it.
        heads: number of heads; None means one for every 64 of the width.
        key_size: of each head; None means width / heads.
        value_size: of each head; None means width / heads.
        shift_rank: rank of each map L_j.
        decay_rank: rank of the map of w.

    Raises:
        InputError: sizes that are not positive integers or do not divide.
    """

    family = "linear"
    source = "Eagle and Finch: RWKV with Matrix-Valued States and Dynamic Recurrence (arXiv 2404.05892)"

    scaled = {**TimeMixing.scaled, "shift_rank": Scaling.WIDTH}

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        shift_rank: int = 32,
        decay_rank: int = 64,
    ):
        super().__init__(dims, heads, key_size, value_size)
        width, keys, values = dims.width, self.heads * self.key_size, self.heads * self.value_size
        self.shift_rank = positive("shift_rank", shift_rank)
        self.decay_rank = positive("decay_rank", decay_rank)
        place = Place.of(dims)
        slow, fast = 1 - place.ramp**place.up, 1 - place.ramp ** (place.up / 2)
        self.mix = nn.Parameter(slow.clone())
        self.shift = nn.Linear(width, 5 * shift_rank, bias=False)
        self.shifts = BlockLinear(5, shift_rank, width)  # its biases are the five mu
        self.shifts.bias.data.copy_(torch.stack([slow, slow, slow - 0.3 * place.down, fast, fast]))
        channel = torch.arange(keys) / max(1, keys - 1)
        self.decay = LowRank(width, decay_rank, keys, 5 * channel ** (0.7 + 1.3 * place.down) - 6, "tanh")
        nn.init.uniform_(self.shift.weight, -NEAR_ZERO, NEAR_ZERO)
        for weight in (self.shifts.weight, self.decay.second.weight):
            nn.init.uniform_(weight, -SMALL, SMALL)
        zigzag = 0.1 * ((torch.arange(keys) + 1) % 3 - 1)
        self.bonus = nn.Parameter(place.down * (1 - channel) + zigzag)
        self.key = nn.Linear(width, keys, bias=False)
        self.value = nn.Linear(width, values, bias=False)
        self.receptance = nn.Linear(width, keys, bias=False)
        self.gate = nn.Linear(width, values, bias=False)
        self.output_gate = OutputGate()

    def features(self, x: Tensor, delta: Tensor) -> tuple[Tensor, ...]:
        """r, k, v and log w by head; then the gate."""
        low = torch.tanh(self.shift(x + delta * self.mix.to(x.dtype)))
        mixes = self.shifts(low).to(x.dtype)  # [..., 5, D]
        w, k, v, r, g = (x.unsqueeze(-2) + delta.unsqueeze(-2) * mixes).unbind(-2)
        inputs = self.receptance(r), self.key(k), self.value(v), -self.decay(w).exp()
        return *map(self.by_head, inputs), self.output_gate(self.gate(g))

    def recur(self, features: tuple[Tensor, ...], memory: Tensor | None) -> tuple[Tensor, Tensor]:
        """By linear attention on keys, values and decays of the tokens before: it reads after it has written."""
        r, k, v, log_decay = features
        o, before = linear_attention(r, *map(later, (k, v, log_decay)), scale=1.0, initial_state=memory)
        return self._read(o, r, k, v), self._written(before, k[:, -1], v[:, -1], log_decay[:, -1])

    def recur_step(self, features: tuple[Tensor, ...], memory: Tensor) -> tuple[Tensor, Tensor]:
        """Reads, then writes."""
        r, k, v, log_decay = features
        o = torch.einsum("bhk,bhkv->bhv", r.to(memory.dtype), memory).to(v.dtype)
        return self._read(o, r, k, v), self._written(memory, k, v, log_decay)

    def _read(self, o: Tensor, r: Tensor, k: Tensor, v: Tensor) -> Tensor:
        bonus = (r * k * self.by_head(self.bonus)).sum(-1, keepdim=True) * v
        return self.norm(o + bonus.to(o.dtype))

    @staticmethod
    def _written(memory: Tensor, k: Tensor, v: Tensor, log_decay: Tensor) -> Tensor:
        decay = log_decay.to(memory.dtype).exp()[..., None]
        return decay * memory + (k[..., None] * v[..., None, :]).to(memory.dtype)

    def cost(self) -> PartCost:
        """The state, and the token's own key and value."""
        keys, values = self.heads * self.key_size, self.heads * self.value_size
        elements, bonus = keys * self.value_size, 3 * keys + 2 * values
        return self.priced(5.0 * elements + bonus, 4.0 * elements + CHUNK * (keys + values) + bonus)
