"""Log-linear attention as one masked product of all pairs of tokens.

Token s lies in the bucket of token i that has number bit_length(i xor s): the highest bit in which their places differ.
Of a bucket of an earlier token p, whose number is g, all tokens lie in bucket max(g, bit_length(i xor p)) of token i.

Shapes: B sequences, T tokens, H heads, K key size, V value size, L levels, P buckets so far.
"""

import torch
from torch import Tensor

from kernels.chunks import STRONGEST, decay_within


def log_linear_attention(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, weights: Tensor, position: int, states: Tensor
) -> tuple[Tensor, Tensor]:
    """q (scaled), k [B, T, H, K], v [B, T, H, V], log_decay [B, T, H], weights [B, T, H, L], states [B, P, H, K, V]."""
    length, last = q.shape[1], weights.shape[-1] - 1
    after = position + length
    log_decay = log_decay.clamp(min=STRONGEST).transpose(1, 2)  # [B, H, T]
    decay, total = decay_within(log_decay).tril(), log_decay.cumsum(2)
    levels = _table([[(position + i) ^ (position + s) for s in range(length)] for i in range(length)], q)
    by_level = weights.transpose(1, 2)  # [B, H, T, L]
    chosen = by_level.gather(-1, levels.clamp(max=last).expand(*by_level.shape[:2], -1, -1))
    scores = torch.einsum("bthk,bshk->bhts", q, k) * decay * chosen
    o = torch.einsum("bhts,bshv->bthv", scores, v)
    to_end = decay[..., -1, :].transpose(1, 2)[..., None]
    own = _table([after ^ (position + s) for s in range(length)], q) - 1  # buckets of the token after the last
    slots = after.bit_length()
    member = (own[:, None] == torch.arange(slots, device=q.device)).to(q.dtype)
    new = torch.einsum("bshk,bshv,sp->bphkv", k * to_end, v, member)
    if states.shape[1]:
        numbers = torch.arange(1, states.shape[1] + 1, device=q.device)
        moved = _table([(position + i) ^ position for i in range(length)], q)
        levels = torch.maximum(moved[:, None], numbers).clamp(max=last)  # [T, P]
        chosen = by_level.gather(-1, levels.expand(*by_level.shape[:2], -1, -1)).transpose(1, 2)  # [B, T, H, P]
        since = total.exp().transpose(1, 2)[..., None]
        o = o + torch.einsum("bthk,bphkv,bthp->bthv", q * since, states, chosen)
        numbers = numbers.clamp(min=(after ^ position).bit_length()) - 1
        member = (numbers[:, None] == torch.arange(slots, device=q.device)).to(q.dtype)
        kept = total[..., -1].exp()[:, None, :, None, None]
        new = new + torch.einsum("bphkv,pn->bnhkv", kept * states, member)
    return o, new


def _table(numbers: list, like: Tensor) -> Tensor:
    """Bit lengths of whole numbers, of the shape of their list."""
    table = torch.tensor(numbers, device=like.device)
    return torch.where(table > 0, table.double().frexp().exponent, 0).long()
