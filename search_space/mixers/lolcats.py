"""LoLCATs' attention."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kernels import linear_attention, masked_attention_with_total
from search_space.parts.base import Dims, PartCost
from search_space.parts.window_and_state import WindowAndState

FLOPS = 4
"""Of a step on an element of the state, which does not decay: two for writing, two for reading."""


class LoLCATs(WindowAndState):
    """LoLCATs (2410.10254, equation 6): a window and linear attention to what lies before it, in one softmax.

    o_t = (g sum_near e^(s_ti - m) v_i + sum_far phi(q_t) . phi(k_i) v_i) / (the same without v), where scores s are
    those of attention, near are the last tokens, m the largest of their scores, and far are all before. phi(x) =
    [softmax(W x), softmax(-W x)] with W for each head, for queries and for keys, and g = sigmoid(c) for each head, c =
    0 at the start.

    The paper turns the attention of a trained model into this; here it is trained from scratch.

    Args:
        dims: sizes of the model.
        window: tokens that are read by softmax, the token's own included.
        feature_size: rows of W; None means key_size / 2, as in the released models of Llama 3 8B.
        options: those of `Attention`, but for other activations than softmax.

    Raises:
        InputError: a size that is not a positive integer, and as `Attention`.
    """

    source = "LoLCATs: On Low-Rank Linearizing of Large Language Models (arXiv 2410.10254)"

    def __init__(self, dims: Dims, *, window: int = 64, feature_size: int | None = None, **options: Any):
        super().__init__(dims, window=window, feature_size=feature_size, share=2, **options)
        self.factor = nn.Parameter(torch.zeros(self.heads))

    def combine(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, near: Tensor, past: int, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See the class: a token enters the state as it leaves the window."""
        o, total, _ = masked_attention_with_total(q, k, v, near)
        length = q.shape[1]
        none = min(self.window - past, length)  # tokens with which no other leaves
        leaving = self.each_head(k[:, : length - none]), self.each_head(v[:, : length - none])
        features = F.pad(self.map(leaving[0], True), (0, 0, 0, 0, none, 0))
        values = F.pad(F.pad(leaving[1], (0, 1), value=1.0), (0, 0, 0, 0, none, 0))
        far, memory = linear_attention(self.map(q, False), features, values, None, scale=1.0, initial_state=memory)
        weight = self.factor.sigmoid()[:, None] * total
        return ((weight * o + far[..., :-1]) / (weight + far[..., -1:])).to(v.dtype), memory

    def cost(self) -> PartCost:
        """With the state, and the map of the key that leaves."""
        cost = super().cost()
        return replace(cost, decode_flops=float(FLOPS * cost.state_elements) + self.map_flops)
