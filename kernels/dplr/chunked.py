"""The recurrence with a diagonal-plus-low-rank transition, in chunks (2503.14456).

With g the running sum of log decays in a chunk, S the state before it, and d_{t,j} = e^{g_t - g_j} element by element,
what token t reads is

    u_t = S^T (z_t e^{g_{t-1}}) + sum_{j<t} (z_t d_{t-1,j}) . p_j u_j + (z_t d_{t-1,j}) . k_j v_j,

a unit lower-triangular system. It is solved for the values and for what S contributes to them, so that all chunks are
solved at once and only S goes from chunk to chunk.

Shapes: B sequences, T tokens, H heads, N chunks of C tokens, K key size, V value size.
"""

import torch
from torch import Tensor

from kernels.chunk_states import chunk_states
from kernels.chunks import fitting_chunk, from_chunks, into_chunks
from kernels.triangular import unit_triangular_inverse

CHUNK = 16
SHORTEST = 4
"""Tokens of the shortest chunk, which only strong decays need."""


def dplr(
    q: Tensor, k: Tensor, v: Tensor, read: Tensor, write: Tensor, log_decay: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """q (scaled), k, read, write, log_decay [B, T, H, K], v [B, T, H, V], state [B, H, K, V]."""
    length = q.shape[1]
    size, log_decay = fitting_chunk(log_decay, CHUNK, SHORTEST)
    q, k, v, read, write, log_decay = (into_chunks(x, size) for x in (q, k, v, read, write, log_decay))
    total = log_decay.cumsum(3)  # [B, H, N, C, K]
    before = total - log_decay
    last = total[:, :, :, -1:]
    # Half of what a whole chunk decays: then neither factor of a product can overflow.
    inner = torch.cat([k, write], 3) * (last / 2 - total).exp().repeat(1, 1, 1, 2, 1)
    # What lies above the diagonal may have overflown: nothing is done with it but to leave it out.
    by_read = (read * (before - last / 2).exp() @ inner.mT).unflatten(-1, (2, size))
    by_query = (q * (total - last / 2).exp() @ inner.mT).unflatten(-1, (2, size))
    values_read, writes_read = (by_read[..., i, :].tril(-1) for i in (0, 1))
    values_seen, writes_seen = (by_query[..., i, :].tril() for i in (0, 1))
    inverse = unit_triangular_inverse(-writes_read)
    solved = inverse @ torch.cat([values_read @ v, read * before.exp()], -1)
    own, from_state = solved.split([v.shape[-1], k.shape[-1]], -1)  # [B, H, N, C, V] and [B, H, N, C, K]
    to_end = (last - total).exp()
    key_end, write_end = ((x * to_end).mT for x in (k, write))  # [B, H, N, K, C]
    # S' = (diag(kept) + write_end from_state) S + written: affine in S, so its factors are made for all chunks at once.
    written = key_end @ v + write_end @ own
    start, state = chunk_states(last.exp().mT, write_end @ from_state, written, state)
    u = own + from_state @ start
    o = (q * total.exp()) @ start + values_seen @ v + writes_seen @ u
    return from_chunks(o, length), state
