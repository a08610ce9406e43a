"""Linear attention with decay: the recurrence under RetNet, GLA, HGRN2, Lightning attention and Mamba-2.

Shapes: B sequences, T tokens, H heads, K key size, V value size.
"""

import torch
from torch import Tensor

from kernels.backend import check_shapes, pick, state_dtype
from kernels.linear_attention import chunked, reference

IMPLEMENTATIONS = {"reference": reference.linear_attention, "chunked": chunked.linear_attention}


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
        q: [B, T, H, K].
        k: [B, T, H, K].
        v: [B, T, H, V].
        log_decay: log a_t, at most 0. None: no decay; [H]: fixed; [B, T, H]: by token; [B, T, H, K]: by token and key.
        scale: K^-0.5 by default.
        initial_state: S_0 [B, H, K, V]; zero by default.

    Returns:
        o [B, T, H, V] in the dtype of v, and S_T [B, H, K, V], float32 at least.

    Raises:
        ValueError: shapes do not fit.
    """
    batch, length, heads, keys = q.shape
    values = v.shape[-1]
    decays = {1: (heads,), 3: (batch, length, heads), 4: (batch, length, heads, keys)}
    decay_shape = decays.get(log_decay.dim(), decays[4]) if log_decay is not None else ()
    check_shapes(
        k=(k, (batch, length, heads, keys)),
        v=(v, (batch, length, heads, values)),
        log_decay=(log_decay, decay_shape),
        initial_state=(initial_state, (batch, heads, keys, values)),
    )
    dtype = state_dtype(q)
    if initial_state is None:
        initial_state = q.new_zeros(batch, heads, keys, values, dtype=dtype)
    if log_decay is None:
        log_decay = q.new_zeros(heads, dtype=dtype)
    scale = keys**-0.5 if scale is None else scale
    inputs = (x.to(dtype) for x in (q * scale, k, v, log_decay, initial_state))
    o, state = pick(IMPLEMENTATIONS, q.device)(*inputs)
    return o.to(v.dtype), state


def linear_attention_step(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None, state: Tensor, *, scale: float | None = None
) -> tuple[Tensor, Tensor]:
    """A single token: q, k [B, H, K], v [B, H, V], log_decay None, [H], [B, H] or [B, H, K] -> o [B, H, V], state."""
    decayed = state
    if log_decay is not None:
        decay = log_decay.to(state.dtype).exp()
        decayed = state * (decay[..., None] if decay.dim() == 3 else decay[..., None, None])
    state = decayed + k.to(state.dtype)[..., None] * v.to(state.dtype)[..., None, :]
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    o = torch.einsum("bhk,bhkv->bhv", q.to(state.dtype) * scale, state)
    return o.to(v.dtype), state
