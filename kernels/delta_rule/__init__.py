"""The delta rule, with or without decay: the recurrence under DeltaNet, Gated DeltaNet and KDA.

Shapes: B sequences, T tokens, H heads, K key size, V value size.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from kernels.backend import check_shapes, from_triton, pick, state_dtype
from kernels.delta_rule import chunked, reference
from kernels.vmap import stackable


def _plain(form: Callable) -> Callable:
    """A form in plain torch with what it wants: scaled queries, no None, float32 at least."""

    def run(
        q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor | None, state: Tensor | None, scale: float
    ) -> tuple[Tensor, Tensor]:
        if state is None:
            state = q.new_zeros(q.shape[0], *k.shape[2:], v.shape[-1])
        if log_decay is None:
            log_decay = torch.zeros_like(beta)
        dtype = state_dtype(q)
        o, state = form(*(x.to(dtype) for x in (q * scale, k, v, beta, log_decay, state)))
        return o.to(v.dtype), state

    return run


IMPLEMENTATIONS = {
    "reference": _plain(reference.delta_rule),
    "chunked": _plain(chunked.delta_rule),
    "triton": from_triton("delta_rule", "delta_rule"),
}


@stackable()
def delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    log_decay: Tensor | None = None,
    *,
    scale: float | None = None,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """S_t = (I - b_t k_t k_t^T) diag(a_t) S_{t-1} + b_t k_t v_t^T, o_t = scale S_t^T q_t (2510.26692, eq. 1).

    With one decay for all keys it is 2412.06464, eq. 10, without decay the delta rule of 2406.06484. Keys should have
    unit length and b_t lie in [0, 1].

    Args:
        q: [B, T, H, K].
        k: [B, T, H, K].
        v: [B, T, H, V].
        beta: b_t [B, T, H].
        log_decay: log a_t, at most 0; -inf forgets all.
            None: no decay; [B, T, H]: by token; [B, T, H, K]: by token and key.
        scale: K^-0.5 by default.
        initial_state: S_0 [B, H, K, V]; zero by default.

    Returns:
        o [B, T, H, V] in the dtype of v, and S_T [B, H, K, V], float32 at least.

    Raises:
        ValueError: shapes do not fit.
    """
    batch, length, heads, keys = q.shape
    values = v.shape[-1]
    by_key = log_decay is not None and log_decay.dim() == 4
    decay_shape = (batch, length, heads, keys) if by_key else (batch, length, heads)
    check_shapes(
        k=(k, (batch, length, heads, keys)),
        v=(v, (batch, length, heads, values)),
        beta=(beta, (batch, length, heads)),
        log_decay=(log_decay, decay_shape),
        initial_state=(initial_state, (batch, heads, keys, values)),
    )
    scale = keys**-0.5 if scale is None else scale
    return pick(IMPLEMENTATIONS, q)(q, k, v, beta, log_decay, initial_state, scale)


@stackable()
def delta_rule_step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    log_decay: Tensor | None,
    state: Tensor,
    *,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """A single token: q, k [B, H, K], v [B, H, V], beta [B, H], log_decay None, [B, H] or [B, H, K] -> o, state."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return pick(STEPS, q)(q, k, v, beta, log_decay, state, scale)


def _plain_step(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor | None, state: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    query, key, value, strength = (x.to(state.dtype) for x in (q * scale, k, v, beta))
    if log_decay is not None:
        decay = log_decay.to(state.dtype).exp()
        state = state * (decay[..., None] if decay.dim() == 3 else decay[..., None, None])
    held = torch.einsum("bhk,bhkv->bhv", key, state)
    state = state + key[..., None] * (strength[..., None] * (value - held))[..., None, :]
    return torch.einsum("bhk,bhkv->bhv", query, state).to(v.dtype), state


STEPS = {
    "reference": _plain_step,
    "chunked": _plain_step,
    "triton": from_triton("delta_rule", "delta_rule_step"),
}
