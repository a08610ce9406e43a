"""JetBlock."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.checks import count, head_size
from search_space.parts.base import Dims, PartCost
from search_space.parts.matrix_state import DeltaRuleMixer
from search_space.parts.nn import step_bias, unit_length

LARGEST_RATE = 16.0
REDUCTION = 8
"""Channels for each hidden unit of the network that makes the taps."""
SPREAD = 0.02


class DynamicConvolution(nn.Module):
    """A causal depthwise convolution whose taps each token makes for itself, with SiLU (2508.15884).

    Args:
        channels: C.
        width: W, tokens that an output sees, itself included; 0 means no convolution at all.
        hidden: inputs of the projection that makes the taps.
    """

    def __init__(self, channels: int, width: int, hidden: int):
        super().__init__()
        self.channels, self.width, self.cached = channels, count("conv", width), max(width - 1, 0)
        if width:
            self.taps = nn.Linear(hidden, channels * width)
            nn.init.zeros_(self.taps.weight)
            nn.init.normal_(self.taps.bias, std=SPREAD)

    def initial_cache(self, like: Tensor, batch: int) -> Tensor:
        """Inputs [B, W - 1, C] before the first token, with the device and dtype of `like`."""
        return like.new_zeros(batch, self.cached, self.channels)

    def forward(self, x: Tensor, hidden: Tensor, cache: Tensor | None) -> tuple[Tensor, Tensor]:
        """x [B, T, C] through taps that come from hidden [B, T, hidden]; returns output and new cache."""
        if not self.width:
            return F.silu(x), x[:, :0]
        past = self.initial_cache(x, x.shape[0]) if cache is None else cache
        inputs = torch.cat([past, x], 1)
        windows = inputs.unfold(1, self.width, 1)  # [B, T, C, W]
        taps = self.taps(hidden).unflatten(-1, (self.channels, self.width))
        return F.silu((windows * taps).sum(-1)), inputs[:, x.shape[1] :]


class JetBlock(DeltaRuleMixer):
    """JetBlock of Jet-Nemotron (2508.15884): Gated DeltaNet whose values pass a dynamic convolution.

    The taps of the convolution over values come from each token: W_2 silu(W_1 x) + c with an eighth as many hidden
    units as values; W_2 starts at 0 and c normal with deviation .02, which is a static convolution. Queries and keys
    pass SiLU without a convolution and have unit length. Decay, writing strength, norm and gate are Gated DeltaNet's
    (2412.06464): a_t = exp(-A softplus(W_a x_t + c)), A uniform in (0, 16], softplus(c) log-uniform in [.001, .1].
    Sizes are those of Jet-Nemotron 2B: keys .75 and values twice as wide as the model.

    Args:
        dims: sizes of the model.
        heads: number of heads; None means one for every 128 of the width.
        key_size: of each head; None means .75 width / heads.
        value_size: of each head; None means 2 width / heads.
        conv: width of the dynamic convolution over values; 0 means none.

    Raises:
        InputError: sizes that are not positive integers or do not divide.
    """

    source = "Jet-Nemotron: Efficient Language Model with Post Neural Architecture Search (arXiv 2508.15884)"

    flops_per_element = 7

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        conv: int = 4,
    ):
        heads = max(1, dims.width // 128) if heads is None else heads
        value_size = head_size("value_size", value_size, heads, 2 * dims.width)
        values = heads * value_size
        hidden = max(1, values // REDUCTION) if conv else 0
        super().__init__(
            dims,
            heads=heads,
            key_size=head_size("key_size", key_size, heads, 3 * dims.width // 4),
            value_size=value_size,
            conv=0,
            activation=True,
            gated=True,
            extra=2 * heads + hidden,
        )
        self.hidden = hidden
        self.conv = DynamicConvolution(values, conv, hidden)
        self.log_rate = nn.Parameter((LARGEST_RATE * (1 - torch.rand(heads))).log())
        self.step_bias = nn.Parameter(step_bias(heads))

    def convolve(self, features: Tensor, extra: Tensor, cache: Tensor | None) -> tuple[Tensor, Tensor]:
        """Values alone."""
        qk, v = features.split([self.sizes[0] - self.conv.channels, self.conv.channels], -1)
        v, cache = self.conv(v, F.silu(extra[..., : self.hidden]), cache)
        return torch.cat([F.silu(qk), v], -1), cache

    def convolve_step(self, features: Tensor, extra: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """Values alone."""
        features, cache = self.convolve(features.unsqueeze(1), extra.unsqueeze(1), cache)
        return features.squeeze(1), cache

    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Tensor | None, ...]:
        """Unit queries and keys, values, writing strength, decay by head."""
        q, k = unit_length(qk).chunk(2, -2)
        strength, step = extra[..., self.hidden :].chunk(2, -1)
        return q, k, v, strength.sigmoid(), -self.log_rate.exp() * F.softplus(step + self.step_bias)

    def cost(self) -> PartCost:
        """With the sums of the dynamic convolution."""
        cost, sums = super().cost(), 2.0 * self.conv.width * self.conv.channels
        return replace(cost, decode_flops=cost.decode_flops + sums, prefill_flops=cost.prefill_flops + sums)
