"""A gated recurrence of each element by itself: the one under HGRN and RG-LRU.

Shapes: B sequences, T tokens, D elements.
"""

from torch import Tensor

from kernels.backend import check_shapes, pick, state_dtype
from kernels.gated_scan import chunked, reference

IMPLEMENTATIONS = {"reference": reference.gated_scan, "chunked": chunked.gated_scan}


def gated_scan(x: Tensor, log_decay: Tensor, *, initial_state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """h_t = a_t h_{t-1} + x_t (2311.04823, eq. 4, with the input gate in x).

    Args:
        x: [B, T, D].
        log_decay: log a_t [B, T, D], at most 0.
        initial_state: h_0 [B, D]; zero by default.

    Returns:
        h [B, T, D] in the dtype of x, and h_T [B, D], float32 at least.

    Raises:
        ValueError: shapes do not fit.
    """
    batch, _, size = x.shape
    check_shapes(log_decay=(log_decay, tuple(x.shape)), initial_state=(initial_state, (batch, size)))
    dtype = state_dtype(x)
    if initial_state is None:
        initial_state = x.new_zeros(batch, size, dtype=dtype)
    h = pick(IMPLEMENTATIONS, x.device)(x.to(dtype), log_decay.to(dtype), initial_state.to(dtype))
    return h.to(x.dtype), h[:, -1]


def gated_scan_step(x: Tensor, log_decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """A single token: x and log_decay [B, D] -> h [B, D], state."""
    state = log_decay.to(state.dtype).exp() * state + x.to(state.dtype)
    return state.to(x.dtype), state
