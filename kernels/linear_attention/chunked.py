"""Linear attention with decay in chunks (2312.06635, section 4): attention within a chunk, a state between chunks.

The decay from token j to token i of a chunk is e^{g_i - g_j}, where g are sums of log decays. By key, e^{g_i} goes to
the queries and e^{-g_j} to the keys. A scalar goes to outputs and values instead: then the heads of a group share the
products of queries and keys, and no tensor has a chunk squared for each head. Where g spans too much for that, decays
are worked out for all pairs of tokens.

Shapes: B sequences, T tokens, H heads in G groups of R, N chunks of C tokens, K key size, V value size.
"""

import torch
from torch import Tensor

from kernels.backend import to_heads
from kernels.chunks import STRONGEST, decays, fitting_chunk, from_chunks, into_chunks, middle, weak_sums

CHUNK = 16
WEAK_CHUNKS = 32, 16, 8
"""Of scalar decays that are weak enough, the longest that they allow."""


def linear_attention(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """q (scaled), k [B, T, G, K], v [B, T, H, V], log_decay [H], [B, T, H] or [B, T, H, K], state [B, H, K, V].

    With a decay by key, G has to be H.
    """
    if log_decay.dim() == 4:
        return _by_key(q, k, v, log_decay, state)
    log_decay = log_decay.clamp(min=STRONGEST).expand(v.shape[:3])
    total = weak_sums(log_decay, [min(size, v.shape[1]) for size in WEAK_CHUNKS])
    if total is None:
        return _by_pair(q, k, v, log_decay, state)
    return _on_values(q, k, v, total, state)


def _by_key(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    length = v.shape[1]
    size, log_decay = fitting_chunk(log_decay, CHUNK, shortest=2)
    q, k, v, log_decay = (into_chunks(x, min(size, length)) for x in (q, k, v, log_decay))
    total = log_decay.cumsum(3)  # [B, H, N, C, K]
    last = total[:, :, :, -1:]
    centre = middle(total)
    # What lies above the diagonal may have overflown.
    scores = ((q * (total - centre).exp()) @ (k * (centre - total).exp()).mT).tril()
    written = (k * (last - total).exp()).mT @ v  # [B, H, N, K, V]
    before, state = _states(last.exp().mT, written, state)
    return from_chunks(scores @ v + (q * total.exp()) @ before, length), state


def _on_values(q: Tensor, k: Tensor, v: Tensor, total: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """total: sums of log decays [B, H, N, C]. Heads of a group lie side by side, as columns of values and states."""
    length, groups, values = v.shape[1], k.shape[2], v.shape[3]
    q, k, v = (into_chunks(x, total.shape[3]) for x in (q, k, v))

    def columns(x: Tensor) -> Tensor:
        """[B, H, N, ..., V or 1] -> [B, G, N, ..., R V]."""
        return x.expand(*x.shape[:-1], values).unflatten(1, (groups, -1)).movedim(2, -2).flatten(-2)

    def by_head(x: Tensor) -> Tensor:
        """The reverse."""
        return x.unflatten(-1, (-1, values)).movedim(-2, 2).flatten(1, 2)

    total = total[..., None]
    first, last = total[:, :, :, :1], total[:, :, :, -1:]
    scores = (q @ k.mT).tril()  # [B, G, N, C, C]
    fading = columns(v * (first - total).exp())  # [B, G, N, C, R V]
    written = (k.mT @ fading) * columns((last - first).exp())
    before, state = _states(columns(last.exp()), written, columns(state))
    o = by_head(scores @ fading + q @ (before * columns(first.exp()))) * (total - first).exp()
    return from_chunks(o, length), by_head(state)


def _by_pair(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    length = v.shape[1]
    q, k = (to_heads(x, v.shape[2]) for x in (q, k))
    q, k, v, log_decay = (into_chunks(x, min(CHUNK, length)) for x in (q, k, v, log_decay))
    within, since_start, until_end = decays(log_decay)
    written = (k * until_end).mT @ v
    before, state = _states(since_start[:, :, :, -1:], written, state)
    return from_chunks(q @ k.mT * within @ v + (q * since_start) @ before, length), state


def _states(kept: Tensor, written: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The states that chunks begin with [B, H, N, K, V], and the last [B, H, K, V].

    A chunk multiplies the state by `kept`, which broadcasts, and adds `written` [B, H, N, K, V].
    """
    states = []
    # unbind, because each index by n would fill a whole gradient with zeros in the backward pass
    for keep, write in zip(kept.unbind(2), written.unbind(2), strict=True):
        states.append(state)
        state = keep * state + write
    return torch.stack(states, 2), state
