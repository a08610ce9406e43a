"""Regularised least squares over all tokens so far: the Mesa layer.

There is no Triton form yet: the chunked one runs on a GPU, too.

Shapes: B sequences, T tokens, H heads, K key size, V value size.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from kernels.backend import check_shapes, pick, state_dtype
from kernels.mesa import chunked, reference
from kernels.vmap import stackable


def _plain(form: Callable) -> Callable:
    """A form with what it wants: scaled queries, no None, float32 at least."""

    def run(
        q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, ridge: Tensor, steps: int,
        state: Tensor | None, scale: float,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        if state is None:
            state = q.new_zeros(q.shape[0], *k.shape[2:], k.shape[-1] + v.shape[-1])
        dtype = state_dtype(q)
        inputs = (x.to(dtype) for x in (q * scale, k, v, beta, log_decay, ridge))
        with torch.autocast(q.device.type, enabled=False):  # a solver in bfloat16 would not converge
            o, state = form(*inputs, steps, state.to(dtype))
        return o.to(v.dtype), state

    return run


IMPLEMENTATIONS = {
    "reference": _plain(reference.mesa),
    "chunked": _plain(chunked.mesa),
    "triton": _plain(chunked.mesa),
}


@stackable()
def mesa(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    log_decay: Tensor,
    ridge: Tensor,
    steps: int,
    *,
    scale: float = 1.0,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """o_t = scale G_t^T (H_t + diag(ridge))^-1 q_t: values by the best linear map from keys so far (2506.05233, eq. 5).

    H_t = a_t H_{t-1} + b_t k_t k_t^T and G_t = a_t G_{t-1} + b_t k_t v_t^T. The system is solved by conjugate gradients
    from zero, and so is the one of its gradient. Keys should have unit length.

    Args:
        q: [B, T, H, K].
        k: [B, T, H, K].
        v: [B, T, H, V].
        beta: b_t, 0 or more, [B, T, H].
        log_decay: log a_t, at most 0, [B, T, H].
        ridge: above 0, [B, H, K].
        steps: of the solver; the reference solves exactly.
        scale: of the queries.
        initial_state: H_0 and G_0 side by side, [B, H, K, K + V]; zero by default.

    Returns:
        o [B, T, H, V] in the dtype of v, and H_T and G_T side by side, float32 at least.

    Raises:
        ValueError: shapes do not fit.
    """
    batch, length, heads, keys = q.shape
    values = v.shape[-1]
    check_shapes(
        k=(k, (batch, length, heads, keys)),
        v=(v, (batch, length, heads, values)),
        beta=(beta, (batch, length, heads)),
        log_decay=(log_decay, (batch, length, heads)),
        ridge=(ridge, (batch, heads, keys)),
        initial_state=(initial_state, (batch, heads, keys, keys + values)),
    )
    return pick(IMPLEMENTATIONS, q)(q, k, v, beta, log_decay, ridge, steps, initial_state, scale)


def mesa_step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    log_decay: Tensor,
    ridge: Tensor,
    steps: int,
    state: Tensor,
    *,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """A single token: q, k [B, H, K], v [B, H, V], beta, log_decay [B, H], ridge [B, H, K] -> o [B, H, V], state."""
    q, k, v, beta, log_decay = (x.unsqueeze(1) for x in (q, k, v, beta, log_decay))
    o, state = mesa(q, k, v, beta, log_decay, ridge, steps, scale=scale, initial_state=state)
    return o[:, 0], state
