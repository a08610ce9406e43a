"""The delta rule with decay in chunks (2406.06484, section 3.2; with decay 2412.06464, section 3.3).

With g the running sum of log decays in a chunk and S the state before it, what token t writes is

    w_t = b_t (v_t - e^{g_t} S^T k_t - sum_{j<t} e^{g_t - g_j} (k_t . k_j) w_j),

with e^{g_t - g_j} inside the product k_t . k_j if the decay is by key (2510.26692, section 3). That is a unit
lower-triangular system. It is solved for the values and for what S contributes to them, so that all chunks are
solved at once and only S goes from chunk to chunk. A scalar decay that is weak enough goes to the values: e^{-g_t} w_t
solves the system without decay for e^{-g_t} v_t.

Shapes: B sequences, T tokens, H heads, N chunks of C tokens, K key size, V value size.
"""

import torch
from torch import Tensor

from kernels.chunk_states import chunk_states
from kernels.chunks import STRONGEST, decays, fitting_chunk, from_chunks, into_chunks, middle, weak_sums
from kernels.triangular import unit_triangular_inverse

CHUNK = 16
SHORTEST = 4
"""Tokens of the shortest chunk, which only strong decays by key need: e^-40, then the strongest, is still nothing."""


def delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """q (scaled), k [B, T, H, K], v [B, T, H, V], beta, log_decay [B, T, H] (or [B, T, H, K]), state [B, H, K, V]."""
    length, size, total = q.shape[1], CHUNK, None
    by_key = log_decay.dim() == 4
    if by_key:
        size, log_decay = fitting_chunk(log_decay, CHUNK, SHORTEST)
    else:
        log_decay = log_decay.clamp(min=STRONGEST)
        total = weak_sums(log_decay, [CHUNK])
    q, k, v, beta = (into_chunks(x, size) for x in (q, k, v, beta))
    strength = beta[..., None]
    if total is not None:
        o, state = _on_values(q, k, v, strength, total[..., None], state)
        return from_chunks(o, length), state
    log_decay = into_chunks(log_decay, size)
    if by_key:
        total = log_decay.cumsum(3)  # [B, H, N, C, K]
        centre = middle(total)
        read, written = (total - centre).exp(), k * (centre - total).exp()
        # What lies above the diagonal may have overflown: nothing is done with it but to leave it out.
        similar, attended = ((x * read @ written.mT).tril(up) for x, up in ((k, -1), (q, 0)))
        since_start, until_end = total.exp(), (total[:, :, :, -1:] - total).exp()
    else:
        within, since_start, until_end = decays(log_decay)
        similar, attended = (k @ k.mT * within).tril(-1), q @ k.mT * within
    own, from_state = _solve(strength, similar, v, since_start * k)
    to_end = (k * until_end).mT  # [B, H, N, K, C]
    kept = since_start[:, :, :, -1:].mT  # [B, H, N, 1 or K, 1]
    before, state = chunk_states(kept, -(to_end @ from_state), to_end @ own, state)
    writes = own - from_state @ before
    o = (q * since_start) @ before + attended @ writes
    return from_chunks(o, length), state


def _on_values(
    q: Tensor, k: Tensor, v: Tensor, strength: Tensor, total: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The same in chunks, with sums of log decays [B, H, N, C, 1] that do not span too much."""
    first, last = total[:, :, :, :1], total[:, :, :, -1:]
    own, from_state = _solve(strength, (k @ k.mT).tril(-1), v * (first - total).exp(), k)
    kept = last.exp()
    move, add = -kept * (k.mT @ from_state), (last - first).exp() * (k.mT @ own)
    before, state = chunk_states(kept, move, add, state)
    before = before * first.exp()
    writes = own - from_state @ before
    return (q @ before + (q @ k.mT).tril() @ writes) * (total - first).exp(), state


def _solve(strength: Tensor, similar: Tensor, v: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """What chunks write by themselves [B, H, N, C, V], and what the state before takes from it [B, H, N, C, K].

    S' = kept S + to_end (own - from_state S) is affine in S, so both factors are made for all chunks at once.
    """
    solved = unit_triangular_inverse(strength * similar) @ torch.cat([strength * v, strength * k], -1)
    own, from_state = solved.split([v.shape[-1], k.shape[-1]], -1)
    return own, from_state
