"""Softmax attention to every so many tokens."""

from typing import Any

from torch import Tensor

from search_space import limits
from search_space.checks import positive
from search_space.errors import InputError
from search_space.parts.base import Cache, Dims, PartCost, State
from search_space.parts.cached_attention import CachedAttention
from search_space.parts.checkpoints import attend


class StridedAttention(CachedAttention):
    """Attention to checkpoints, as in SCOUT (2509.00935): each token sees itself, and every k-th token before it.

    In SCOUT it stands behind a mixer that sees what is near (Mamba or a sliding window) and has summed up in each
    checkpoint what came before it.

    Args:
        dims: sizes of the model.
        stride: k; checkpoints are the tokens k - 1, 2 k - 1, ...
        options: those of `Attention`, but for other activations than softmax.

    Raises:
        InputError: a stride that is not an integer of 2 or more, and as `Attention`.
    """

    family = "sparse"
    source = "SCOUT: Toward Sub-Quadratic Attention via Segment Compression (arXiv 2509.00935)"

    def __init__(self, dims: Dims, *, stride: int = 10, **options: Any):
        super().__init__(dims, **options)
        self.stride = positive("stride", stride, limits.TOKENS)
        if stride < 2:
            raise InputError("stride", stride, "2 at least")
        if self.activation != "softmax":
            raise InputError("activation", self.activation, "softmax")

    def attended(self, features: Tensor, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """The checkpoints, and each token's own key and value."""
        state = state or {"position": 0}
        position = state["position"]
        before = (state["keys"], state["values"]) if "keys" in state else None
        o, (keys, values) = attend(*self._heads(features, position), before, position, self.stride)
        return o, {"keys": keys, "values": values, "position": position + features.shape[1]}

    def state_after(self, batch: int, context: int) -> State:
        """Checkpoints of zeros."""
        kept, state = context // self.stride, self.initial_state(batch)
        grown = {name: state[name].new_zeros(batch, kept, *state[name].shape[2:]) for name in ("keys", "values")}
        return {**state, **grown, "position": context}

    def cost(self) -> PartCost:
        """The checkpoints, and each token's own key and value."""
        size = self.key_size + self.value_size
        flops = 2.0 * self.heads * size
        return PartCost(
            **self.weights(),
            caches=(Cache(elements=self.kv_heads * size, flops=flops, every=self.stride, heads=self.kv_heads),),
            conv_elements=self.conv.cached * self.conv.channels,
            decode_flops=flops,
            prefill_flops=flops,
        )
