"""A causal depthwise convolution with filters of many taps, shared by groups of channels: the one under Hyena.

Shapes: B sequences, T tokens, C channels in G groups, W taps.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from kernels.backend import check_shapes, from_triton, pick
from kernels.long_convolution import chunked, reference
from kernels.vmap import stackable


def _plain(form: Callable) -> Callable:
    """A form in plain torch with what it wants: a past, and filters of the type of x."""

    def run(x: Tensor, filters: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        width = filters.shape[1]
        if past is None:
            past = x.new_zeros(x.shape[0], width - 1, x.shape[2])
        y = form(x, filters.to(x.dtype), past)
        return y, torch.cat([past, x], 1)[:, x.shape[1] :]

    return run


IMPLEMENTATIONS = {
    "reference": _plain(reference.long_convolution),
    "chunked": _plain(chunked.long_convolution),
    "triton": from_triton("long_convolution", "long_convolution"),
}


@stackable(2, x=2, initial_state=2)  # by channels: each model has filters of its own
def long_convolution(x: Tensor, filters: Tensor, *, initial_state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """y_t = sum_s h_s x_{t-s} over s = 0 .. W - 1 (2503.01868), channel by channel.

    Args:
        x: [B, T, C].
        filters: h [G, W], where G divides C; channels c with the same c // (C / G) share a filter. The first tap is
            that of the token itself.
        initial_state: the W - 1 inputs before x, [B, W - 1, C]; zero by default.

    Returns:
        y [B, T, C] in the dtype of x, and the last W - 1 inputs [B, W - 1, C].

    Raises:
        ValueError: shapes do not fit.
    """
    batch, _, channels = x.shape
    groups, width = filters.shape
    check_shapes(initial_state=(initial_state, (batch, width - 1, channels)))
    if channels % groups:
        raise ValueError(f"filters are {groups}: expected a divisor of the {channels} channels")
    return pick(IMPLEMENTATIONS, x)(x, filters, initial_state)


@stackable((1, 2), x=1, state=2)
def long_convolution_step(x: Tensor, filters: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """A single token: x [B, C] -> y [B, C], state [B, W - 1, C]."""
    inputs = torch.cat([state, x.unsqueeze(1)], 1)
    windows = inputs.unflatten(2, (filters.shape[0], -1))  # [B, W, G, C / G]
    y = torch.einsum("bwgs,gw->bgs", windows, filters.flip(1).to(x.dtype))
    return y.flatten(1), inputs[:, 1:]
