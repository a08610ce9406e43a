"""A recurrence whose transition is diagonal plus low-rank (DPLR): the one under RWKV-7 and Gated DeltaNet-2.

The chunked form runs on a GPU, too, where Triton walks over the chunks (`kernels.chunk_states`) and what chunks do by
themselves is left to torch.

Shapes: B sequences, T tokens, H heads, K key size, V value size.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from kernels.backend import check_shapes, pick, state_dtype
from kernels.dplr import chunked, reference
from kernels.vmap import stackable


def _plain(form: Callable) -> Callable:
    """A form in plain torch with what it wants: scaled queries, no None, float32 at least."""

    def run(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        read: Tensor,
        write: Tensor,
        log_decay: Tensor,
        state: Tensor | None,
        scale: float,
    ) -> tuple[Tensor, Tensor]:
        if state is None:
            state = q.new_zeros(q.shape[0], *k.shape[2:], v.shape[-1])
        dtype = state_dtype(q)
        o, state = form(*(x.to(dtype) for x in (q * scale, k, v, read, write, log_decay, state)))
        return o.to(v.dtype), state

    return run


IMPLEMENTATIONS = {
    "reference": _plain(reference.dplr),
    "chunked": _plain(chunked.dplr),
    "triton": _plain(chunked.dplr),
}


@stackable()
def dplr(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    read: Tensor,
    write: Tensor,
    log_decay: Tensor,
    *,
    scale: float | None = None,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """S_t = (diag(a_t) + p_t z_t^T) S_{t-1} + k_t v_t^T, o_t = scale S_t^T q_t (2503.14456, its state transposed).

    The delta rule of KDA is the case z_t = -b_t a_t k_t, p_t = k_t with b_t v_t for values: `delta_rule` does that for
    less. For a stable recurrence p_t and z_t should be about opposite, and no longer than 1.

    Args:
        q: [B, T, H, K].
        k: [B, T, H, K].
        v: [B, T, H, V].
        read: z_t [B, T, H, K], which reads the state before it decays.
        write: p_t [B, T, H, K], where what was read is written.
        log_decay: log a_t [B, T, H, K], at most 0.
        scale: K^-0.5 by default.
        initial_state: S_0 [B, H, K, V]; zero by default.

    Returns:
        o [B, T, H, V] in the dtype of v, and S_T [B, H, K, V], float32 at least.

    Raises:
        ValueError: shapes do not fit.
    """
    batch, length, heads, keys = q.shape
    shape = (batch, length, heads, keys)
    check_shapes(
        k=(k, shape),
        v=(v, (batch, length, heads, v.shape[-1])),
        read=(read, shape),
        write=(write, shape),
        log_decay=(log_decay, shape),
        initial_state=(initial_state, (batch, heads, keys, v.shape[-1])),
    )
    scale = keys**-0.5 if scale is None else scale
    return pick(IMPLEMENTATIONS, q)(q, k, v, read, write, log_decay, initial_state, scale)


@stackable()
def dplr_step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    read: Tensor,
    write: Tensor,
    log_decay: Tensor,
    state: Tensor,
    *,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """A single token: q, k, read, write, log_decay [B, H, K], v [B, H, V] -> o [B, H, V], state."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    query, key, value, z, p, decay = (x.to(state.dtype) for x in (q * scale, k, v, read, write, log_decay.exp()))
    held = torch.einsum("bhk,bhkv->bhv", z, state)
    state = decay[..., None] * state + p[..., None] * held[..., None, :] + key[..., None] * value[..., None, :]
    return torch.einsum("bhk,bhkv->bhv", query, state).to(v.dtype), state
