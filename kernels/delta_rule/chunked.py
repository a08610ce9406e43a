"""The delta rule with decay in chunks (2406.06484, section 3.2; with decay 2412.06464, section 3.3).

With g the running sum of log decays in a chunk and S the state before it, what token t writes is

    w_t = b_t (v_t - e^{g_t} S^T k_t - sum_{j<t} e^{g_t - g_j} (k_t . k_j) w_j),

a unit lower-triangular system. It is solved for the values and for what S contributes to them, so that all chunks are
solved at once and only S goes from chunk to chunk.

Shapes: B sequences, T tokens, H heads, N chunks of C tokens, K key size, V value size.
"""

import torch
from torch import Tensor

from kernels.chunks import decay_within, from_chunks, into_chunks
from kernels.triangular import unit_triangular_inverse

CHUNK = 16


def delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """q (scaled), k [B, T, H, K], v [B, T, H, V], beta, log_decay [B, T, H], state [B, H, K, V]."""
    length = q.shape[1]
    q, k, v, beta, log_decay = (into_chunks(x, CHUNK) for x in (q, k, v, beta, log_decay))
    total = log_decay.cumsum(3)  # [B, H, N, C]
    decay = decay_within(total)
    since_start = total.exp()[..., None]
    strength = beta[..., None]
    keys = strength * k
    inverse = unit_triangular_inverse((keys @ k.mT * decay).tril(-1))
    solved = inverse @ torch.cat([strength * v, since_start * keys], -1)
    own, from_state = solved.split([v.shape[-1], k.shape[-1]], -1)  # [B, H, N, C, V] and [B, H, N, C, K]
    to_end = (k * (total[..., -1:] - total).exp()[..., None]).mT  # [B, H, N, K, C]
    kept = since_start[:, :, :, -1:]  # [B, H, N, 1, 1]
    # S' = kept S + to_end (own - from_state S): linear in S, so both factors are made for all chunks at once.
    written = to_end @ own
    erased = to_end @ from_state
    states = []
    # unbind, because each index by n would fill a whole gradient with zeros in the backward pass
    for keep, write, erase in zip(kept.unbind(2), written.unbind(2), erased.unbind(2), strict=True):
        states.append(state)
        state = keep * state + write - erase @ state
    before = torch.stack(states, 2)
    writes = own - from_state @ before
    o = (q * since_start) @ before + (q @ k.mT * decay) @ writes
    return from_chunks(o, length), state
