"""A gated recurrence of each element by itself: the one under HGRN and RG-LRU.

Shapes: B sequences, T tokens, D elements.
"""

from collections.abc import Callable

from torch import Tensor

from kernels.backend import check_shapes, from_triton, pick, state_dtype
from kernels.gated_scan import chunked, reference
from kernels.vmap import stackable


def _plain(form: Callable) -> Callable:
    """A form in plain torch with what it wants: no None, float32 at least."""

    def run(x: Tensor, log_decay: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        if state is None:
            state = x.new_zeros(x.shape[0], x.shape[2])
        dtype = state_dtype(x)
        h = form(x.to(dtype), log_decay.to(dtype), state.to(dtype))
        return h.to(x.dtype), h[:, -1]

    return run


IMPLEMENTATIONS = {
    "reference": _plain(reference.gated_scan),
    "chunked": _plain(chunked.gated_scan),
    "triton": from_triton("gated_scan", "gated_scan"),
}


@stackable()
def gated_scan(x: Tensor, log_decay: Tensor, *, initial_state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """h_t = a_t h_{t-1} + x_t (2311.04823, eq. 4, with the input gate in x).

    Args:
        x: [B, T, D].
        log_decay: log a_t [B, T, D], at most 0; -inf forgets all.
        initial_state: h_0 [B, D]; zero by default.

    Returns:
        h [B, T, D] in the dtype of x, and h_T [B, D], float32 at least.

    Raises:
        ValueError: shapes do not fit.
    """
    batch, _, size = x.shape
    check_shapes(log_decay=(log_decay, tuple(x.shape)), initial_state=(initial_state, (batch, size)))
    return pick(IMPLEMENTATIONS, x)(x, log_decay, initial_state)


@stackable()
def gated_scan_step(x: Tensor, log_decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """A single token: x and log_decay [B, D] -> h [B, D], state."""
    return pick(STEPS, x)(x, log_decay, state)


def _plain_step(x: Tensor, log_decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    state = log_decay.to(state.dtype).exp() * state + x.to(state.dtype)
    return state.to(x.dtype), state


STEPS = {
    "reference": _plain_step,
    "chunked": _plain_step,
    "triton": from_triton("gated_scan", "gated_scan_step"),
}
