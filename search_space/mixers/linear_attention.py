"""Linear attention with a feature map."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kernels import rotary
from search_space.checks import head_size, rotary_base, switch
from search_space.errors import InputError, one_of
from search_space.parts.base import Dims, PartCost
from search_space.parts.feature_maps import FEATURE_MAPS, HeadMaps
from search_space.parts.matrix_state import MatrixStateMixer

SMALLEST = 1e-6
"""Added to the sum of weights that outputs are divided by."""


class LinearAttention(MatrixStateMixer):
    """Linear attention (2006.16236, section 3.2): attention with phi(q) . phi(k) for exp(q . k), as a recurrence.

    o_t = phi(q_t)^T S_t / (phi(q_t) . z_t + 1e-6) with S_t = S_{t-1} + phi(k_t) v_t^T and z_t = z_{t-1} + phi(k_t),
    where z is one more column of the state. Feature maps that can be negative have no such sum: an RMS norm of each
    head takes its place. There is no decay.

    Args:
        dims: sizes of the model.
        feature_map: elu (elu + 1), relu, silu (cosFormer2), cosine (unit length), taylor (Based), hedgehog, log_normal,
            dijiang, mlp, regla, fourier or norm_aware (NaLaFormer); in search_space/parts/feature_maps.py each is
            explained.
        heads: number of heads; None means one for every 64 of the width.
        key_size: of each head; None means width / heads.
        value_size: of each head; None means width / heads.
        conv: width of a short convolution (with SiLU) over queries, keys and values; 0 means none.
        rope_theta: base of the rotary wavelengths, by which features turn; None means no positions. cosFormer2 has
            them. Only for maps without a sum, which has to stay positive.
        gate: whether a sigmoid of rank V gates the output, as in cosFormer2 (2406.16690), behind the norm or the sum.

    Raises:
        InputError: sizes that are not positive integers or do not divide, an unknown map, or positions it cannot have.
    """

    source = "Transformers are RNNs: Fast Autoregressive Transformers with Linear Attention (arXiv 2006.16236)"

    query_scale = 1.0

    def __init__(
        self,
        dims: Dims,
        *,
        feature_map: str = "elu",
        heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        conv: int = 0,
        rope_theta: float | None = None,
        gate: bool = False,
    ):
        heads = max(1, dims.width // 64) if heads is None else heads
        value_size = head_size("value_size", value_size, heads, dims.width)
        super().__init__(
            dims,
            heads=heads,
            key_size=head_size("key_size", key_size, heads, dims.width),
            value_size=value_size,
            conv=conv,
            activation=conv > 0,
            gated=switch("gate", gate),
            gate_size=value_size,
        )
        self.gate = nn.Linear(value_size, heads * value_size, bias=False) if gate else None
        if feature_map not in FEATURE_MAPS:
            raise InputError("feature_map", feature_map, one_of(feature_map, list(FEATURE_MAPS)))
        entry = FEATURE_MAPS[feature_map]
        self.map = entry.build(heads, self.key_size)
        self.normalised = entry.normalised
        if self.normalised:
            del self.norm
            if rope_theta is not None:
                raise InputError("rope_theta", rope_theta, f"null with the feature map {feature_map}")
        self.rope_theta = None if rope_theta is None else rotary_base(rope_theta, self.map.features)

    @property
    def state_sizes(self) -> tuple[int, int]:
        """Features, and values with the sum of weights."""
        return self.map.features, self.value_size + self.normalised

    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Tensor | None, ...]:
        """Features of queries and keys, values and a one, no decay."""
        q, k = (self.map(x, of_keys).to(v.dtype) for of_keys, x in enumerate(qk.chunk(2, -2)))
        if self.rope_theta is not None:
            q, k = rotary(torch.cat([q, k], -2), position, self.rope_theta).chunk(2, -2)
        return q, k, F.pad(v, (0, 1), value=1.0) if self.normalised else v, None

    def read(self, o: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        """Over the sum of weights, or normed."""
        found = o[..., :-1] / (o[..., -1:] + SMALLEST) if self.normalised else self.norm(o)
        found = found.flatten(-2)
        return found if self.gate is None else found * self.gate(gate).sigmoid()

    def cost(self) -> PartCost:
        """With the matrices of the feature map."""
        cost = super().cost()
        products = sum(m.weight.numel() for m in self.map.modules() if isinstance(m, HeadMaps))
        return replace(cost, product_flops=cost.product_flops + 2.0 * products)
