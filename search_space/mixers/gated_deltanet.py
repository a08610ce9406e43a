"""Gated DeltaNet."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.checks import head_size, positive, switch
from search_space.errors import InputError
from search_space.parts.base import Dims
from search_space.parts.matrix_state import DeltaRuleMixer
from search_space.parts.nn import step_bias, unit_length

LARGEST_RATE = 16.0


class GatedDeltaNet(DeltaRuleMixer):
    """Gated DeltaNet (2412.06464, equation 10): the delta rule on a state that decays.

    S_t = a_t (I - b_t k_t k_t^T) S_{t-1} + b_t k_t v_t^T with b_t = sigmoid(W_b x_t) and, as in Mamba-2, a_t
    = exp(-A softplus(W_a x_t + c)) for each head: A starts uniform in (0, 16], softplus(c) log-uniform in
    [.001, .1]. Queries and keys have unit length after a short convolution and SiLU (values as well); an RMS
    norm for each head and a SiLU gate follow. The defaults are those of the released models: heads of 256 x
    256.

    Args:
        dims: sizes of the model.
        heads: number of heads; None means one for every 256 of the width.
        key_size: of each head; None means width / heads.
        value_size: of each head; None means width / heads.
        conv: width of the short convolution over queries, keys and values; 0 means none.
        heads_per_key: heads that share a query and a key, and have values and gates of their own: 2 in Qwen3-Next.
        negative_eigenvalues: whether the writing strength is doubled, so that a step can also turn a part of the state
            around (2411.12537).

    Raises:
        InputError: sizes that are not positive integers or do not divide, or a switch that is none.
    """

    source = "Gated Delta Networks: Improving Mamba2 with Delta Rule (arXiv 2412.06464)"

    flops_per_element = 7

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        conv: int = 4,
        heads_per_key: int = 1,
        negative_eigenvalues: bool = False,
    ):
        heads = max(1, dims.width // 256) if heads is None else heads
        if positive("heads", heads) % positive("heads_per_key", heads_per_key):
            raise InputError("heads_per_key", heads_per_key, f"a divisor of heads={heads}")
        super().__init__(
            dims,
            heads=heads,
            key_size=head_size("key_size", key_size, heads, dims.width),
            value_size=head_size("value_size", value_size, heads, dims.width),
            conv=conv,
            activation=True,
            gated=True,
            extra=2 * heads,
            key_heads=heads // heads_per_key,
        )
        self.strongest = 2.0 if switch("negative_eigenvalues", negative_eigenvalues) else 1.0
        self.log_rate = nn.Parameter((LARGEST_RATE * (1 - torch.rand(heads))).log())
        self.step_bias = nn.Parameter(step_bias(heads))

    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Tensor | None, ...]:
        """Unit queries and keys, values, writing strength, decay by head."""
        q, k = unit_length(qk).repeat_interleave(self.heads // self.key_heads, -2).chunk(2, -2)
        strength, step = extra.chunk(2, -1)
        log_decay = -self.log_rate.exp() * F.softplus(step + self.step_bias)
        return q, k, v, self.strongest * strength.sigmoid(), log_decay
