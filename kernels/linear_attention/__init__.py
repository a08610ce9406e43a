"""Linear attention with decay: the recurrence under RetNet, GLA, HGRN2, Lightning attention and Mamba-2.

Shapes: B sequences, T tokens, H heads in G groups, K key size, V value size.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kernels.backend import check_shapes, from_triton, pick, state_dtype, to_heads
from kernels.linear_attention import chunked, reference
from kernels.vmap import is_stacked, stackable


def _plain(form: Callable) -> Callable:
    """A form in plain torch with what it wants: scaled queries, no None, float32 at least."""

    def run(
        q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None, state: Tensor | None, scale: float
    ) -> tuple[Tensor, Tensor]:
        if state is None:
            state = q.new_zeros(q.shape[0], v.shape[2], k.shape[3], v.shape[3])
        if log_decay is None:
            log_decay = q.new_zeros(v.shape[2])
        dtype = state_dtype(q)
        o, state = form(*(x.to(dtype) for x in (q * scale, k, v, log_decay, state)))
        return o.to(v.dtype), state

    return run


def _by_head(form: Callable) -> Callable:
    """A form that wants queries and keys of each head."""

    def run(q: Tensor, k: Tensor, v: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
        return form(*(to_heads(x, v.shape[2]) for x in (q, k)), v, *others)

    return run


IMPLEMENTATIONS = {
    "reference": _by_head(_plain(reference.linear_attention)),
    "chunked": _plain(chunked.linear_attention),
    "triton": _by_head(from_triton("linear_attention", "linear_attention")),
}


def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor | None = None,
    *,
    scale: float | None = None,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """S_t = diag(a_t) S_{t-1} + k_t v_t^T, o_t = scale S_t^T q_t (2312.06635, eq. 3; fixed decay 2307.08621, eq. 6).

    Args:
        q: [B, T, G, K]; the heads of a group share queries and keys.
        k: [B, T, G, K].
        v: [B, T, H, V].
        log_decay: log a_t, at most 0; -inf forgets all.
            None: no decay; [H]: fixed; [B, T, H]: by token; [B, T, H, K]: by token and key.
        scale: K^-0.5 by default.
        initial_state: S_0 [B, H, K, V]; zero by default.

    Returns:
        o [B, T, H, V] in the dtype of v, and S_T [B, H, K, V], float32 at least.

    Raises:
        ValueError: shapes do not fit.
    """
    batch, length, groups, keys = q.shape
    heads, values = v.shape[-2:]
    decays = {1: (heads,), 3: (batch, length, heads), 4: (batch, length, heads, keys)}
    decay_shape = decays.get(log_decay.dim(), decays[4]) if log_decay is not None else ()
    check_shapes(
        k=(k, (batch, length, groups, keys)),
        v=(v, (batch, length, heads, values)),
        log_decay=(log_decay, decay_shape),
        initial_state=(initial_state, (batch, heads, keys, values)),
    )
    if groups != heads and (heads % groups or decay_shape == decays[4]):
        q, k = (to_heads(x, heads) for x in (q, k))
    scale = keys**-0.5 if scale is None else scale
    return _sequence(q, k, v, _by_token(log_decay, v), initial_state, scale)


def linear_attention_step(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None, state: Tensor, *, scale: float | None = None
) -> tuple[Tensor, Tensor]:
    """A single token: q, k [B, G, K], v [B, H, V], log_decay None, [H], [B, H] or [B, H, K] -> o, state."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    q, k = (to_heads(x, v.shape[-2]) for x in (q, k))
    return _token(q, k, v, _by_token(log_decay, v), state, scale)


def _by_token(log_decay: Tensor | None, v: Tensor) -> Tensor | None:
    """In a stack, a fixed decay gets the batch that the models are folded into: each may have one of its own."""
    if is_stacked() and log_decay is not None and log_decay.dim() == 1:
        return log_decay.expand(v.shape[:-1])
    return log_decay


@stackable()
def _sequence(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None, state: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    return pick(IMPLEMENTATIONS, q)(q, k, v, log_decay, state, scale)


@stackable()
def _token(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None, state: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    return pick(STEPS, q)(q, k, v, log_decay, state, scale)


def _plain_step(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None, state: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    if log_decay is not None:
        decay = log_decay.to(state.dtype).exp()
        state = state * (decay[..., None] if decay.dim() == 3 else decay[..., None, None])
    state = state + k.to(state.dtype)[..., None] * v.to(state.dtype)[..., None, :]
    o = torch.einsum("bhk,bhkv->bhv", q.to(state.dtype) * scale, state)
    return o.to(v.dtype), state


STEPS = {
    "reference": _plain_step,
    "chunked": _plain_step,
    "triton": from_triton("linear_attention", "linear_attention_step"),
}
