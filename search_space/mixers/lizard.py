"""Lizard's attention."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kernels import linear_attention, masked_attention_with_total
from search_space.checks import positive
from search_space.parts.base import Dims, PartCost
from search_space.parts.window_and_state import WindowAndState

FLOPS = 5
"""Of a step on an element of the state: decay, two for writing, two for reading."""
SMALLEST = 1e-20


class Lizard(WindowAndState):
    """Lizard (2507.09025, section 3.1): gated linear attention to all tokens, plus a window with sinks.

    o_t = phi(q_t)^T S_t / phi(q_t)^T z_t + a sum_near e^(s_ti) v_i / (sum_near e^(s_ti) + sum_j e^(c_j)), where S_t =
    g_t S_{t-1} + phi(k_t) v_t^T, z_t = g_t z_{t-1} + phi(k_t) and one g_t = sigmoid(w x_t) for all heads; scores s are
    those of attention, without positions. phi is that of LoLCATs. The sinks have weights e^(c_j) and no values, c = 0
    and a = 1 at the start.

    The paper turns the attention of a trained model into this; here it is trained from scratch. Where the paper leaves
    a choice open: each head has a map of its own, as in LoLCATs, whose defaults it says to follow; the first term is
    divided by its sum in every form, as in the paper's parallel form; W of phi has as many rows as a key has elements,
    as in the paper's 8B models.

    Args:
        dims: sizes of the model.
        window: tokens that are read by softmax, the token's own included.
        sinks: number of c_j.
        feature_size: rows of W in phi; None means key_size.
        rope_theta: base of the rotary wavelengths; None means no positions.
        options: those of `Attention`, but for other activations than softmax.

    Raises:
        InputError: a size that is not a positive integer, and as `Attention`.
    """

    source = "Lizard: An Efficient Linearization Framework for Large Language Models (arXiv 2507.09025)"

    def __init__(
        self,
        dims: Dims,
        *,
        window: int = 128,
        sinks: int = 4,
        feature_size: int | None = None,
        rope_theta: float | None = None,
        **options: Any,
    ):
        super().__init__(dims, window=window, feature_size=feature_size, share=1, rope_theta=rope_theta, **options)
        self.gate = nn.Linear(dims.width, 1, bias=False)
        self.sinks = nn.Parameter(torch.zeros(positive("sinks", sinks)))
        self.share_of_window = nn.Parameter(torch.ones(1))

    def combine(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, near: Tensor, past: int, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See the class."""
        o, total, most = masked_attention_with_total(q, k, v, near)
        share = (total.log() + most - self.sinks.logsumexp(0)).sigmoid()
        features = self.map(self.each_head(k[:, past:]), True)
        values = F.pad(self.each_head(v[:, past:]), (0, 1), value=1.0)
        log_decay = F.logsigmoid(self.gate(x)).expand(q.shape[:-1])
        q = self.map(q, False)
        read, memory = linear_attention(q, features, values, log_decay, scale=1.0, initial_state=memory)
        far = read[..., :-1] / read[..., -1:].clamp(min=SMALLEST)
        return far + (self.share_of_window * share * o).to(v.dtype), memory

    def cost(self) -> PartCost:
        """With the state, and the map of keys."""
        cost = super().cost()
        products = cost.product_flops + self.map_flops
        prefill = cost.prefill_flops - self.map_flops
        flops = float(FLOPS * cost.state_elements)
        return replace(cost, product_flops=products, decode_flops=flops, prefill_flops=prefill)
