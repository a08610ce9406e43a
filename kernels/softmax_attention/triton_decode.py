"""One query token over a long cache (flash decoding): the cache is split between programs, then their parts are joined.

Shapes: B sequences, N cached tokens, H query heads, G key-value heads, K key size, V value size, S splits.

A program of `softmax_attention_step_kernel` owns a stretch of the cache of one key-value head, and all query heads of
the group, which share the keys that it loads: each key and value is read once. It leaves the softmax over its stretch
and the log of its sum, [B, H, S, V] and [B, H, S] in float32, or the output itself where there is one stretch.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.softmax_attention.triton_kernels import rows_of
from kernels.tuning import block, tuned

WANTED = 264
"""Programs that fill the chip: two on each multiprocessor of an H100."""
SHORTEST = 256
"""Fewest tokens of a stretch."""
STEP = 128
"""Stretches begin at multiples of this: of every block of keys."""
MOST = 128
"""Most stretches."""


@tuned([(4, 3), (4, 2), (8, 2), (2, 3)], key=["K", "V", "GROUP", "SPLIT"])
@triton.jit(do_not_specialize=["first", "N", "length"])
def softmax_attention_step_kernel(
    q, k, v, o, lse, q_batch, q_head, k_batch, k_row, k_head, v_batch, v_row, v_head, first, N, length, factor,
    SPLIT: tl.constexpr, GROUP: tl.constexpr, K: tl.constexpr, V: tl.constexpr,
    BK: tl.constexpr, BV: tl.constexpr, BH: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Grid (S, G, B): one stretch of the cache for one group of heads."""
    split, group, batch = tl.program_id(0), tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    splits, heads = tl.num_programs(0), tl.num_programs(1) * GROUP
    queries = rows_of(q + batch * q_batch + group * GROUP * q_head, 0, GROUP, q_head, K, BH, BK, True)
    k += batch * k_batch + group * k_head
    v += batch * v_batch + group * v_head
    sums = tl.zeros([BH, BV], tl.float32)
    top = tl.full([BH], float("-inf"), tl.float32)
    total = tl.zeros([BH], tl.float32)
    begin = first + split * length
    end = tl.minimum(begin + length, N)
    for start in tl.range(begin, end, BN):
        keys = rows_of(k, start, end, k_row, K, BN, BK, True)
        scores = tl.dot(queries, tl.trans(keys), input_precision="tf32x3")
        scores = tl.where((start + tl.arange(0, BN) < end)[None, :], scores, float("-inf"))
        higher = tl.maximum(top, tl.max(scores, 1) * factor)
        weights = tl.exp2(scores * factor - higher[:, None])
        fade = tl.exp2(top - higher)
        total = total * fade + tl.sum(weights, 1)
        values = rows_of(v, start, end, v_row, V, BN, BV, True)
        sums = tl.dot(weights.to(values.dtype), values, sums * fade[:, None], input_precision="tf32x3")
        top = higher
    members, columns = tl.arange(0, BH), tl.arange(0, BV)
    place = batch * heads + group * GROUP + members
    if SPLIT:
        place = place * splits + split
        tl.store(lse + place, top + tl.log2(total), members < GROUP)
    mask = (members < GROUP)[:, None] & (columns < V)[None, :]
    tl.store(o + place[:, None] * V + columns[None, :], (sums / total[:, None]).to(o.dtype.element_ty), mask)


@triton.jit(do_not_specialize=["S"])
def softmax_attention_step_join_kernel(
    parts, lse, o, S, V: tl.constexpr, BS: tl.constexpr, BV: tl.constexpr, ROWS: tl.constexpr
):
    """Grid (B x H): the softmax over all stretches of one head."""
    place = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BV)
    every = tl.arange(0, BS)
    top = tl.max(tl.load(lse + place * S + every, every < S, other=float("-inf")), 0)
    sums = tl.zeros([BV], tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    for start in tl.range(0, S, ROWS):
        rows = start + tl.arange(0, ROWS)
        weights = tl.exp2(tl.load(lse + place * S + rows, rows < S, other=float("-inf")) - top)
        mask = (rows < S)[:, None] & (columns < V)[None, :]
        part = tl.load(parts + (place * S + rows)[:, None] * V + columns[None, :], mask, other=0.0)
        sums += tl.sum(part * weights[:, None], 0)
        total += weights
    tl.store(o + place * V + columns, (sums / tl.sum(total, 0)).to(o.dtype.element_ty), columns < V)


def _plan(programs: int, visible: int) -> tuple[int, int]:
    """Number of stretches, and tokens of each."""
    splits = min(triton.cdiv(WANTED, programs), triton.cdiv(visible, SHORTEST), MOST)
    length = triton.cdiv(triton.cdiv(visible, splits), STEP) * STEP
    return triton.cdiv(visible, length), length


def decode(q: Tensor, k: Tensor, v: Tensor, window: int | None, scale: float) -> Tensor:
    """q [B, 1, H, K] is the last of the N tokens of k, v [B, N, G, ...] -> o [B, 1, H, V]; no gradients."""
    batch, _, heads, key_size = q.shape
    total, groups, value_size = v.shape[1:]
    first = 0 if window is None else max(0, total - window)
    splits, length = _plan(batch * groups, total - first)
    bk, bv = block(key_size), block(value_size)
    width = max(bk, bv) * q.element_size()
    o = torch.empty(batch, 1, heads, value_size, dtype=v.dtype, device=v.device)
    parts, lse = o, None
    if splits > 1:
        parts = torch.empty(batch, heads, splits, value_size, dtype=torch.float32, device=v.device)
        lse = torch.empty(batch, heads, splits, dtype=torch.float32, device=v.device)
    softmax_attention_step_kernel[(splits, groups, batch)](
        q, k, v, parts, lse, q.stride(0), q.stride(2), *k.stride()[:3], *v.stride()[:3],
        first, total, length, scale * math.log2(math.e),
        SPLIT=splits > 1, GROUP=heads // groups, K=key_size, V=value_size, BK=bk, BV=bv,
        BH=block(heads // groups), BN=128 if width <= 128 else 64 if width <= 256 else 32,
    )  # fmt: skip
    if splits > 1:
        stretches = triton.next_power_of_2(splits)
        softmax_attention_step_join_kernel[(batch * heads,)](
            parts, lse, o, splits, V=value_size, BS=stretches, BV=bv, ROWS=16, num_warps=2
        )
    return o
