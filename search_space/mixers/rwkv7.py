"""RWKV-7."""

import math

import torch
from torch import Tensor, nn

from kernels import dplr, dplr_step
from search_space.checks import positive
from search_space.parts.base import Dims, PartCost, Scaling
from search_space.parts.matrix_state import CHUNK
from search_space.parts.nn import unit_length
from search_space.parts.rwkv import LowRank, Place, TimeMixing

FASTEST = -math.exp(-0.5)
"""Log of the fastest decay."""
MIXES = {"r": 0.2, "w": 0.9, "k": 0.7, "v": 0.7, "a": 0.9, "g": 0.2}
"""Inputs, and how fast their share of the token before falls over channels."""


class RWKV7(TimeMixing):
    """RWKV-7 "Goose" time mixing (2503.14456, section 4): a generalised delta rule with vectors for gates.

    S_t = (diag(w_t) - (a_t * kk_t) kk_t^T) S_{t-1} + k'_t v_t^T for each head, and o_t = norm(S_t^T r_t) + (r_t . (p *
    k'_t)) v_t, gated by g_t. Inputs of r, w, k, v, a and g are x_t + mu (x_{t-1} - x_t) with a vector mu each. Then kk
    = k * c of unit length, a = sigmoid(a_0 + A_2 A_1 x), k' = k (1 + (a - 1) * e), log w = -e^-.5 sigmoid(w_0 + W_2
    tanh(W_1 x)) and g = G_2 sigmoid(G_1 x). The norm is a layer norm of each head.

    Initial values are the authors', which depend on depth; but low-rank maps start near zero, not at zero (see
    `LowRank`), and the output is left to the model. Left out is the value residual, which mixes in the values of the
    first layer: here a layer sees no other. The channel mixer of the paper, squared ReLU with a token shift, is
    `relu2` without the shift.

    Args:
        dims: sizes of the model, and the place in it.
        heads: number of heads; None means one for every 64 of the width.
        key_size: of each head; None means width / heads.
        value_size: of each head; None means width / heads.
        decay_rank: rank of the maps of w and a; None means 2.5 width^1/2 in multiples of 32.
        gate_rank: rank of the map of g; None means 5 width^1/2 in multiples of 32.

    Raises:
        InputError: sizes that are not positive integers or do not divide.
    """

    family = "delta"
    source = 'RWKV-7 "Goose" with Expressive Dynamic State Evolution (arXiv 2503.14456)'

    scaled = {**TimeMixing.scaled, "gate_rank": Scaling.WIDTH}

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        decay_rank: int | None = None,
        gate_rank: int | None = None,
    ):
        super().__init__(dims, heads, key_size, value_size)
        width, keys, values = dims.width, self.heads * self.key_size, self.heads * self.value_size
        self.decay_rank = positive("decay_rank", _rank(2.5, width) if decay_rank is None else decay_rank)
        self.gate_rank = positive("gate_rank", _rank(5.0, width) if gate_rank is None else gate_rank)
        place = Place.of(dims)
        self.mixes = nn.Parameter(torch.stack([1 - place.ramp ** (fall * place.up) for fall in MIXES.values()]))
        channel = torch.arange(keys)
        linear = channel / max(1, keys - 1) - 0.5
        half = max(0.5, (self.key_size - 1) / 2)
        zigzag = (channel % self.key_size - (self.key_size - 1) / 2) / half
        zigzag = zigzag * zigzag.abs()
        decay = 6 * (linear + 0.5) ** (1 + place.down**0.3) - 5.5 + 2.5 * zigzag
        self.decay = LowRank(width, self.decay_rank, keys, decay, "tanh")
        self.rate = LowRank(width, self.decay_rank, keys, 0.3 * zigzag + 0.4 * linear - 0.19, None)
        self.gate = LowRank(width, self.gate_rank, values, None, "sigmoid")
        for low_rank in (self.decay, self.rate, self.gate):
            nn.init.orthogonal_(low_rank.second.weight, gain=0.1)
        self.receptance = nn.Linear(width, keys, bias=False)
        self.key = nn.Linear(width, keys, bias=False)
        self.value = nn.Linear(width, values, bias=False)
        for linear_map, bound in ((self.receptance, 0.5), (self.key, 0.05), (self.value, 0.5)):
            nn.init.uniform_(linear_map.weight, -bound * width**-0.5, bound * width**-0.5)
        self.removal = nn.Parameter(0.71 - 0.1 * linear)
        self.replacement = nn.Parameter(torch.full((keys,), 1.02))
        self.bonus = nn.Parameter(torch.full((keys,), -0.04))
        nn.init.constant_(self.norm.weight, ((dims.layer + 1) / dims.layers) ** 0.7)

    def features(self, x: Tensor, delta: Tensor) -> tuple[Tensor, ...]:
        """r, k', v, what reads the state to erase it, where that is written, log w; then the gate."""
        r, w, k, v, a, g = (x + delta * mix for mix in self.mixes.to(x.dtype).unbind(0))
        k, rate = self.key(k), self.rate(a).sigmoid()
        removal = unit_length(self.by_head(k * self.removal))
        key = self.by_head(k * (1 + (rate - 1) * self.replacement))
        log_decay = FASTEST * self.decay(w).sigmoid()
        read = self.by_head(self.receptance(r)), key, self.by_head(self.value(v))
        return *read, -removal, removal * self.by_head(rate), self.by_head(log_decay), self.gate(g)

    def recur(self, features: tuple[Tensor, ...], memory: Tensor | None) -> tuple[Tensor, Tensor]:
        """By the DPLR operator."""
        o, memory = dplr(*features, scale=1.0, initial_state=memory)  # type: ignore[misc]
        return self._read(o, *features[:3]), memory

    def recur_step(self, features: tuple[Tensor, ...], memory: Tensor) -> tuple[Tensor, Tensor]:
        """By the operator's step."""
        o, memory = dplr_step(*features, state=memory, scale=1.0)  # type: ignore[misc]
        return self._read(o, *features[:3]), memory

    def _read(self, o: Tensor, r: Tensor, k: Tensor, v: Tensor) -> Tensor:
        bonus = (r * k * self.by_head(self.bonus)).sum(-1, keepdim=True) * v
        return self.norm(o) + bonus.flatten(-2).to(o.dtype)

    def cost(self) -> PartCost:
        """The state: decay, two FLOPs for what is read, written there, written anew, and read by r.

        In chunks of a prompt four matrices of scores take the place of two, and what is read goes through the state.
        """
        keys, values = self.heads * self.key_size, self.heads * self.value_size
        elements, bonus = keys * self.value_size, 3 * keys + 2 * values
        within = 2 * CHUNK * (keys + values) + 4 * CHUNK * keys + 2 * CHUNK * values + 2 * CHUNK * (keys + values)
        prefill = 8 * elements + within + CHUNK**2 * self.heads / 3
        return self.priced(9.0 * elements + bonus, prefill + bonus)


def _rank(factor: float, width: int) -> int:
    """A multiple of 32, 32 at least."""
    return max(32, 32 * round(factor * width**0.5 / 32))
