"""A causal depthwise convolution over the last few tokens, with an optional SiLU: the one ahead of most recurrences.

Shapes: B sequences, T tokens, C channels, W width.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from kernels.backend import check_shapes, from_triton, pick
from kernels.vmap import stackable


def _plain(
    x: Tensor, weight: Tensor, bias: Tensor | None, cache: Tensor | None, activation: bool
) -> tuple[Tensor, Tensor]:
    channels, width = weight.shape
    past = x.new_zeros(x.shape[0], width - 1, channels) if cache is None else cache
    inputs = torch.cat([past, x], 1) if width > 1 else x
    # In two dimensions, because torch has a fast channels-last kernel there: half the time on a CPU.
    image = inputs.transpose(1, 2).unsqueeze(2)
    y = F.conv2d(image, weight.reshape(channels, 1, 1, width), bias, groups=channels).squeeze(2).transpose(1, 2)
    return F.silu(y) if activation else y, inputs[:, inputs.shape[1] - width + 1 :]


def _plain_step(
    x: Tensor, weight: Tensor, bias: Tensor | None, cache: Tensor, activation: bool
) -> tuple[Tensor, Tensor]:
    inputs = torch.cat([cache, x.unsqueeze(1)], 1)
    y = (inputs * weight.T).sum(1)
    y = y if bias is None else y + bias
    return F.silu(y) if activation else y, inputs[:, 1:]


IMPLEMENTATIONS = {
    "reference": _plain,
    "chunked": _plain,
    "triton": from_triton("short_convolution", "short_convolution"),
}
STEPS = {
    "reference": _plain_step,
    "chunked": _plain_step,
    "triton": from_triton("short_convolution", "short_convolution_step"),
}


@stackable(2, x=2, initial_state=2)  # by channels: each model has a weight of its own
def short_convolution(
    x: Tensor,
    weight: Tensor,
    *,
    bias: Tensor | None = None,
    activation: bool = False,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """y_t = sum_w weight_w x_{t-W+1+w} + bias, through SiLU if `activation`.

    Args:
        x: [B, T, C].
        weight: [C, W], W at least 1; the last tap is that of the token itself.
        bias: [C]; none by default.
        activation: whether SiLU follows.
        initial_state: the W - 1 inputs before x, [B, W - 1, C]; zero by default.

    Returns:
        y [B, T, C] in the dtype of x, and the last W - 1 inputs [B, W - 1, C].

    Raises:
        ValueError: shapes do not fit.
    """
    batch, _, channels = x.shape
    width = weight.shape[-1]
    check_shapes(
        weight=(weight, (channels, width)),
        bias=(bias, (channels,)),
        initial_state=(initial_state, (batch, width - 1, channels)),
    )
    return pick(IMPLEMENTATIONS, x)(x, weight, bias, initial_state, activation)


@stackable((1, 2), x=1, state=2)
def short_convolution_step(
    x: Tensor, weight: Tensor, state: Tensor, *, bias: Tensor | None = None, activation: bool = False
) -> tuple[Tensor, Tensor]:
    """A single token: x [B, C] -> y [B, C], state [B, W - 1, C]."""
    return pick(STEPS, x)(x, weight, bias, state, activation)
