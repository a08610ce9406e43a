"""The body of mixers that read a window by softmax and what lies before it, or all, from a state.

Shapes: B sequences, T tokens, P cached tokens, H heads, G key-value heads, K key size, V value size, F features.
"""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from search_space import limits
from search_space.checks import positive
from search_space.errors import InputError
from search_space.parts.base import Cache, Dims, PartCost, Scaling, State
from search_space.parts.cached_attention import CachedAttention
from search_space.parts.feature_maps import SoftmaxPair
from search_space.parts.matrix_state import CHUNK


class WindowAndState(CachedAttention):
    """Keeps keys and values of a window, and a state of features times values for each query head.

    Features are those of LoLCATs, of queries and keys as attention has them. Each query head has maps of its own. The
    last column of the state is the sum of features, for sums of weights. A mixer fills in `combine`.

    Args:
        dims: sizes of the model.
        window: tokens of the window, the token's own included.
        feature_size: rows of the maps; there are twice as many features.
        options: those of `Attention`, but for other activations than softmax.
    """

    family = "mixed"
    scaled = {**CachedAttention.scaled, "window": Scaling.LENGTH, "feature_size": Scaling.HEAD_SIZE}
    window: int  # type: ignore[assignment]

    def __init__(self, dims: Dims, *, window: int, feature_size: int | None, share: int, **options: Any):
        super().__init__(dims, **options)
        if self.activation != "softmax":
            raise InputError("activation", self.activation, "softmax")
        self.window = positive("window", window, limits.TOKENS)
        default = max(1, self.key_size // share)
        self.feature_size = default if feature_size is None else positive("feature_size", feature_size)
        self.map = SoftmaxPair(self.heads, self.key_size, self.feature_size)

    @abstractmethod
    def combine(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, near: Tensor, past: int, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What is read [B, T, H, V], and the state after.

        Args:
            q: [B, T, H, K].
            k: of the P tokens in the window before the first token, and of the T tokens, [B, P + T, G, K].
            v: likewise, [B, P + T, G, V].
            x: inputs of the layer [B, T, D].
            near: which of these each token has in its window, [T, P + T].
            past: P.
            memory: the state before [B, H, F, V + 1].
        """

    def attended(self, features: Tensor, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """The window and the state, as the mixer combines them."""
        state = state or self.initial_state(x.shape[0])
        position, past = state["position"], state["keys"].shape[1]
        q, k, v = self._heads(features, position)
        k, v = torch.cat([state["keys"], k], 1), torch.cat([state["values"], v], 1)
        place = torch.arange(k.shape[1], device=k.device)
        age = place[past:, None] - place
        o, memory = self.combine(q, k, v, x, (age >= 0) & (age < self.window), past, state["memory"])
        kept = {"keys": k[:, -self.window :], "values": v[:, -self.window :]}
        return o, {**kept, "memory": memory, "position": position + x.shape[1]}

    def each_head(self, x: Tensor) -> Tensor:
        """x [..., G, size] -> [..., H, size]: that of its group for each query head."""
        return x.repeat_interleave(self.heads // self.kv_heads, -2)

    def initial_state(self, batch: int) -> State:
        """An empty window, no memory; that is float32 at least."""
        state = super().initial_state(batch)
        precision = torch.promote_types(state["keys"].dtype, torch.float32)
        sizes = batch, self.heads, self.map.features, self.value_size + 1
        return {**state, "memory": state["keys"].new_zeros(sizes, dtype=precision)}

    @property
    def map_flops(self) -> float:
        """FLOPs of the map of queries, or of that of keys, for a token."""
        return 2.0 * self.heads * self.key_size * self.feature_size

    def cost(self) -> PartCost:
        """The window, and the state; their update and reading is for the mixer to add."""
        features, columns = self.map.features, self.value_size + 1
        weights, elements = self.weights(), self.heads * features * columns
        weights["product_flops"] += self.map_flops
        size = self.key_size + self.value_size
        return PartCost(
            **weights,
            caches=(
                Cache(
                    elements=self.kv_heads * size,
                    flops=2.0 * self.heads * size,
                    window=self.window,
                    heads=self.kv_heads,
                ),
            ),
            state_elements=elements,
            conv_elements=self.conv.cached * self.conv.channels,
            prefill_flops=4.0 * elements + CHUNK * self.heads * (features + columns) + self.map_flops,
        )
