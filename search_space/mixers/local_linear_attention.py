"""Local linear attention."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kernels import local_linear_attention
from kernels.softmax_attention.cache import append
from search_space.checks import positive
from search_space.errors import InputError
from search_space.parts.base import Cache, Dims, PartCost, State
from search_space.parts.cached_attention import CachedAttention

VECTORS = 12
"""FLOPs that a step of the solver spends on an element of a key: six sums of products."""
INITIAL = 1.0
"""First ridge."""


class LocalLinearAttention(CachedAttention):
    """Local linear attention (LLA, 2510.01450, section 3): a regression around each query, by the weights of attention.

    o_t is the value at q_t of the linear function of keys that fits all tokens so far best, each by its softmax weight
    p: b of argmin sum_s p_s |v_s - b - W (k_s - q_t)|^2 + l |W|^2. Softmax attention is the same without W. The slope
    of each query is found by conjugate gradients, each step of which costs as much as attention does.

    The ridge l is learned for each head and starts at 1, and it stands beside weights that sum to 1. Queries and keys
    pass RMS norms, as their differences count. Of both, and of the number of steps, the paper's choice could not be
    checked.

    Args:
        dims: sizes of the model.
        steps: of the solver.
        qk_norm: whether queries and keys of each head pass RMS norms ahead of the positions.
        options: those of `Attention`, but for other activations than softmax.

    Raises:
        InputError: a number of steps that is not positive, and as `Attention`.
    """

    source = "Local Linear Attention: An Optimal Interpolation of Linear and Softmax Attention (arXiv 2510.01450)"

    def __init__(self, dims: Dims, *, steps: int = 30, qk_norm: bool = True, **options: Any):
        super().__init__(dims, qk_norm=qk_norm, **options)
        if self.activation != "softmax":
            raise InputError("activation", self.activation, "softmax")
        self.steps = positive("steps", steps)
        self.ridge = nn.Parameter(torch.full((self.heads,), INITIAL).expm1().log())

    def attended(self, features: Tensor, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """All keys and values, by a regression."""
        state = state or {"position": 0}
        q, k, v = self._heads(features, state["position"])
        if "keys" in state:
            k, v = append(state["keys"], k), append(state["values"], v)
        ridge = F.softplus(self.ridge).expand(q.shape[0], -1)
        o = local_linear_attention(q, k, v, ridge, self.steps)
        return o, {"keys": k, "values": v, "position": state["position"] + features.shape[1]}

    def cost(self) -> PartCost:
        """Attention, the mean of keys and how far each is along the slope, and two products with all keys a step."""
        cost, size = super().cost(), self.heads * self.key_size
        each = 2.0 * self.heads * (self.key_size + self.value_size) + 4.0 * size
        cache = Cache(elements=cost.caches[0].elements, flops=each + self.steps * 4.0 * size, heads=self.heads)
        vectors = float(self.steps * VECTORS * size)
        return replace(cost, caches=(cache,), decode_flops=vectors, prefill_flops=vectors)
