"""Log-linear attention as one masked product of all pairs of tokens.

Token s lies in the bucket of token i that has number bit_length(i xor s): the highest bit in which their places differ.
Of a bucket of an earlier token p, whose number is g, all tokens lie in bucket max(g, bit_length(i xor p)) of token i.

Shapes: B sequences, T tokens, H heads, K key size, V value size, L levels, P buckets so far.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from kernels.chunks import STRONGEST, decays
from kernels.triangular import unit_triangular_inverse

SMALLEST = 4
"""Of the matrices that are inverted, whose sizes are powers of two."""


def log_linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor | None,
    log_decay: Tensor,
    weights: Tensor,
    position: int,
    states: Tensor,
) -> tuple[Tensor, Tensor]:
    """q (scaled), k [B, T, H, K], v [B, T, H, V], gates [B, T, H], weights [B, T, H, L], states [B, P, H, K, V]."""
    length, last = q.shape[1], weights.shape[-1] - 1
    after = position + length
    q, k, v, by_level = (x.transpose(1, 2) for x in (q, k, v, weights))
    scores, read, written, kept = _without_levels(q, k, beta, log_decay.transpose(1, 2))
    levels = _table([[(position + i) ^ (position + s) for s in range(length)] for i in range(length)], q)
    chosen = by_level.gather(-1, levels.clamp(max=last).expand(*by_level.shape[:2], -1, -1))
    o = (scores * chosen) @ v
    own = _table([after ^ (position + s) for s in range(length)], q) - 1  # buckets of the token after the last
    slots = after.bit_length()
    member = (own[:, None] == torch.arange(slots, device=q.device)).to(q.dtype)
    new = torch.einsum("bhks,bhsv,sp->bphkv", written, v, member)
    if states.shape[1]:
        numbers = torch.arange(1, states.shape[1] + 1, device=q.device)
        moved = _table([(position + i) ^ position for i in range(length)], q)
        levels = torch.maximum(moved[:, None], numbers).clamp(max=last)  # [T, P]
        chosen = by_level.gather(-1, levels.expand(*by_level.shape[:2], -1, -1))  # [B, H, T, P]
        o = o + torch.einsum("bhtk,bphkv,bhtp->bhtv", read, states, chosen)
        numbers = numbers.clamp(min=(after ^ position).bit_length()) - 1
        member = (numbers[:, None] == torch.arange(slots, device=q.device)).to(q.dtype)
        states = kept * states if kept.dim() == states.dim() else kept.unsqueeze(1) @ states
        new = new + torch.einsum("bphkv,pn->bnhkv", states, member)
    return o.transpose(1, 2), new


def _without_levels(
    q: Tensor, k: Tensor, beta: Tensor | None, log_decay: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The recurrence of one state, as what it does to values and to the state before.

    Args:
        q: [B, H, T, K].
        k: [B, H, T, K].
        beta: [B, T, H], or None for linear attention.
        log_decay: [B, H, T].

    Returns:
        What token i reads of value s [B, H, T, T], what it reads of the state before by [B, H, T, K], what value s is
        written under in the last state [B, H, K, T], and what the state before is multiplied with in it: a number
        [B, 1, H, 1, 1], or for the delta rule a matrix [B, H, K, K].
    """
    length, log_decay = q.shape[2], log_decay.clamp(min=STRONGEST)
    within, since, until = decays(log_decay)
    scores, read, written = q @ k.mT * within, q * since, (k * until).mT
    kept = since[:, None, :, -1:]
    if beta is None:
        return scores, read, written, kept
    strength = beta.transpose(1, 2)[..., None]
    size = max(SMALLEST, 1 << (length - 1).bit_length())
    more = size - length
    similar = pad((strength * (k @ k.mT) * within).tril(-1), (0, more, 0, more))
    inverse = unit_triangular_inverse(similar)[..., :length, :length] * strength.mT
    erased = inverse @ (since * k)
    identity = torch.eye(k.shape[-1], dtype=k.dtype, device=k.device)
    kept = since[:, :, -1:] * identity - written @ erased
    return scores @ inverse, read - scores @ erased, written @ inverse, kept


def _table(numbers: list, like: Tensor) -> Tensor:
    """Bit lengths of whole numbers, of the shape of their list."""
    table = torch.tensor(numbers, device=like.device)
    return torch.where(table > 0, table.double().frexp().exponent, 0).long()
