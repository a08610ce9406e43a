"""Sums of decaying complex modes of each channel: the recurrence under Megalodon's moving average.

Shapes: B sequences, T tokens, C channels, N modes of a channel.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from kernels.backend import check_shapes, from_triton, pick, state_dtype
from kernels.complex_scan import chunked, reference
from kernels.vmap import stackable


def _plain(form: Callable) -> Callable:
    """A form with what it wants: no None, and float32 at least but for x."""

    def run(
        x: Tensor, write: Tensor, log_decay: Tensor, angle: Tensor, read: Tensor, state: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        dtype = state_dtype(x)
        if state is None:
            state = x.new_zeros(x.shape[0], *read.shape, dtype=dtype)
        with torch.autocast(x.device.type, enabled=False):
            y, state = form(x, *(each.to(dtype) for each in (write, log_decay, angle, read, state)))
        return y.to(x.dtype), state

    return run


IMPLEMENTATIONS = {
    "reference": _plain(reference.complex_scan),
    "chunked": _plain(chunked.complex_scan),
    "triton": _plain(from_triton("complex_scan", "complex_scan")),
}


@stackable((2, 1), x=2, initial_state=1)  # by channels: each model has modes of its own
def complex_scan(
    x: Tensor,
    write: Tensor,
    log_decay: Tensor,
    angle: Tensor,
    read: Tensor,
    *,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """h_t = e^(log_decay + i angle) h_{t-1} + write x_t and y_t = Re sum_n read h_t (2404.08801, equation 2).

    Args:
        x: [B, T, C].
        write: [C, N].
        log_decay: at most 0, [C, N].
        angle: of a step, [C, N].
        read: real and imaginary parts, [C, N, 2].
        initial_state: h_0 likewise, [B, C, N, 2]; zero by default.

    Returns:
        y [B, T, C] in the dtype of x, and h_T [B, C, N, 2], float32 at least.

    Raises:
        ValueError: shapes do not fit.
    """
    batch, _, channels = x.shape
    modes = (channels, write.shape[-1])
    check_shapes(
        write=(write, modes),
        log_decay=(log_decay, modes),
        angle=(angle, modes),
        read=(read, (*modes, 2)),
        initial_state=(initial_state, (batch, *modes, 2)),
    )
    return pick(IMPLEMENTATIONS, x)(x, write, log_decay, angle, read, initial_state)


def complex_scan_step(
    x: Tensor, write: Tensor, log_decay: Tensor, angle: Tensor, read: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """A single token: x [B, C] -> y [B, C], state [B, C, N, 2]."""
    y, state = complex_scan(x.unsqueeze(1), write, log_decay, angle, read, initial_state=state)
    return y[:, 0], state
