"""Attention under a mask on a GPU, without the matrix of scores (2307.08691).

Shapes: B sequences, T queries, S keys, H query heads, G key-value heads, K key size, V value size.

A program of `fwd` or `bwd_dq` owns BM queries of a head and walks over blocks of BN keys; one of `bwd_dkv` owns BN keys
of a key-value head and walks over the blocks of queries of each head of its group. Where no query of a block sees a key
of the other, only the mask is read: a window, checkpoints and selected blocks cost little more than what they leave.

A score is s = scale g q . k with a gate g, or 1. With w = e^(s - most) and p = w / total,

    o = sum p g v,    ds = p (g do . v - do . o + total dtotal), to which the largest adds dmost - total dtotal,
    dg = scale ds q . k + p do . v,    dq = scale sum ds g k,    dk = scale sum ds g q,    dv = sum p g do.

Of equal largest scores, the first gets what the largest adds.

Read and written for each head, if nothing is skipped: `fwd` q and o once, k and v T / BM times; `bwd_dq` q, do and dq
once, k and v T / BM times; `bwd_dkv` k, v, dk and dv once, q and do S / BN times. Each reads gates and the mask once, a
byte for a pair; `bwd_dq` writes the gradients of gates.
"""

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.backend import needs_gradient
from kernels.masked_attention import IMPLEMENTATIONS
from kernels.softmax_attention.triton import LARGEST, launch
from kernels.softmax_attention.triton_kernels import rows_of, store_rows
from kernels.tuning import packed, strides, tuned

LOG2_E = math.log2(math.e)
CONFIGS, KEY = [(8, 1), (4, 1)], ["K", "V", "GROUP"]
"""A single stage: what a block needs is loaded after its mask is known."""


@triton.jit
def _pairs(x, row, column, T, S, x_row, x_column):
    """[BM, BN] of a matrix of queries and keys, zero outside."""
    place = row.to(tl.int64)[:, None] * x_row + column.to(tl.int64)[None, :] * x_column
    return tl.load(x + place, (row < T)[:, None] & (column < S)[None, :], other=0.0)


@tuned(CONFIGS, KEY)
@triton.jit
def masked_attention_fwd_kernel(
    q, k, v, seen, gates, o, total, most, largest,
    q_batch, q_row, q_head, k_batch, k_row, k_head, v_batch, v_row, v_head,
    seen_batch, seen_head, seen_row, seen_column, gates_batch, gates_head, gates_row, gates_column, T, S, factor,
    GROUP: tl.constexpr, K: tl.constexpr, V: tl.constexpr,
    BK: tl.constexpr, BV: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Grid (blocks of T, H, B): o [B, T, H, V], sums and maxima, and the key of the largest score, -1 if none is seen.

    These are [B, H, T].
    """
    first, heads = tl.program_id(0) * BM, tl.num_programs(1)
    head, batch = tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    queries = rows_of(q + batch * q_batch + head * q_head, first, T, q_row, K, BM, BK, True)
    k += batch * k_batch + head // GROUP * k_head
    v += batch * v_batch + head // GROUP * v_head
    seen += batch * seen_batch + head * seen_head
    if gates is not None:
        gates += batch * gates_batch + head * gates_head
    row = first + tl.arange(0, BM)
    sums = tl.zeros([BM, BV], tl.float32)
    # Below every score, but finite: a block may hold no key that a query sees.
    top = tl.full([BM], -1e30, tl.float32)
    summed = tl.zeros([BM], tl.float32)
    place = tl.full([BM], -1, tl.int32)
    for start in tl.range(0, S, BN):
        column = start + tl.arange(0, BN)
        sees = _pairs(seen, row, column, T, S, seen_row, seen_column) != 0
        if tl.max(tl.max(sees.to(tl.int32), 1), 0) > 0:
            keys = rows_of(k, start, S, k_row, K, BN, BK, True).to(queries.dtype)
            scores = tl.dot(queries, tl.trans(keys), input_precision="tf32x3") * factor
            if gates is not None:
                gate = _pairs(gates, row, column, T, S, gates_row, gates_column).to(tl.float32)
                scores *= gate
            scores = tl.where(sees, scores, float("-inf"))
            here, where = tl.max(scores, 1, return_indices=True)
            place = tl.where(here > top, start + where, place)
            higher = tl.maximum(top, here)
            weights = tl.exp2(scores - higher[:, None])
            fade = tl.exp2(top - higher)
            summed = summed * fade + tl.sum(weights, 1)
            if gates is not None:
                weights *= gate
            values = rows_of(v, start, S, v_row, V, BN, BV, True).to(queries.dtype)
            sums = tl.dot(weights.to(queries.dtype), values, sums * fade[:, None], input_precision="tf32x3")
            top = higher
    blind = place < 0
    sums /= tl.where(blind, 1.0, summed)[:, None]
    store_rows(o + (batch * T * heads + head) * V, sums, first, T, heads * V, V, BM, BV)
    of_head = (batch * heads + head) * T + row
    tl.store(total + of_head, summed, row < T)
    tl.store(most + of_head, tl.where(blind, 0.0, top * 0.6931471805599453), row < T)
    tl.store(largest + of_head, place, row < T)


@triton.jit
def _gradients(
    queries, keys, values, into_o, sees, gate, row, column, of_head, lse, shift, extra, largest, T, factor
):  # fmt: skip
    """Of a tile: products of queries and keys, weights of values, gradients of these weights, and of the scores."""
    products = tl.dot(queries, tl.trans(keys), input_precision="tf32x3")
    scores = products * factor
    if gate is not None:
        scores *= gate
    logs = tl.load(lse + of_head + row, row < T, other=0.0)
    weights = tl.where(sees, tl.exp2(scores - logs[:, None]), 0.0)
    into = tl.dot(into_o, tl.trans(values), input_precision="tf32x3")
    shifts = tl.load(shift + of_head + row, row < T, other=0.0)
    if gate is not None:
        into_scores = weights * (into * gate + shifts[:, None])
    else:
        into_scores = weights * (into + shifts[:, None])
    if extra is not None:
        added = tl.load(extra + of_head + row, row < T, other=0.0)
        place = tl.load(largest + of_head + row, row < T, other=-1)
        into_scores += tl.where(column[None, :] == place[:, None], added[:, None], 0.0)
    return products, weights, into, into_scores


@tuned(CONFIGS, KEY)
@triton.jit
def masked_attention_bwd_dq_kernel(
    q, k, v, seen, gates, do, lse, shift, extra, largest, dq, dgates,
    q_batch, q_row, q_head, k_batch, k_row, k_head, v_batch, v_row, v_head,
    seen_batch, seen_head, seen_row, seen_column, gates_batch, gates_head, gates_row, gates_column,
    do_batch, do_row, do_head, T, S, factor, scale,
    GROUP: tl.constexpr, K: tl.constexpr, V: tl.constexpr,
    BK: tl.constexpr, BV: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Grid (blocks of T, H, B): dq, and dgates [B, H, T, S] if there are gates."""
    first, heads = tl.program_id(0) * BM, tl.num_programs(1)
    head, batch = tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    queries = rows_of(q + batch * q_batch + head * q_head, first, T, q_row, K, BM, BK, True)
    into_o = rows_of(do + batch * do_batch + head * do_head, first, T, do_row, V, BM, BV, True).to(queries.dtype)
    k += batch * k_batch + head // GROUP * k_head
    v += batch * v_batch + head // GROUP * v_head
    seen += batch * seen_batch + head * seen_head
    of_head = (batch * heads + head) * T
    if gates is not None:
        gates += batch * gates_batch + head * gates_head
    row = first + tl.arange(0, BM)
    sums = tl.zeros([BM, BK], tl.float32)
    for start in tl.range(0, S, BN):
        column = start + tl.arange(0, BN)
        sees = _pairs(seen, row, column, T, S, seen_row, seen_column) != 0
        into_gate = tl.zeros([BM, BN], tl.float32)
        if tl.max(tl.max(sees.to(tl.int32), 1), 0) > 0:
            keys = rows_of(k, start, S, k_row, K, BN, BK, True).to(queries.dtype)
            values = rows_of(v, start, S, v_row, V, BN, BV, True).to(queries.dtype)
            gate = None
            if gates is not None:
                gate = _pairs(gates, row, column, T, S, gates_row, gates_column).to(tl.float32)
            products, weights, into, into_scores = _gradients(
                queries, keys, values, into_o, sees, gate, row, column, of_head, lse, shift, extra, largest, T, factor
            )
            if gates is not None:
                into_gate = into_scores * products * scale + weights * into
                into_scores *= gate
            sums = tl.dot(into_scores.to(queries.dtype), keys, sums, input_precision="tf32x3")
        if gates is not None:
            inside = (row < T)[:, None] & (column < S)[None, :]
            where = dgates + (of_head + row)[:, None] * S + column[None, :]
            tl.store(where, into_gate.to(dgates.dtype.element_ty), inside)
    store_rows(dq + (batch * T * heads + head) * K, sums * scale, first, T, heads * K, K, BM, BK)


@tuned(CONFIGS, KEY)
@triton.jit
def masked_attention_bwd_dkv_kernel(
    q, k, v, seen, gates, do, lse, shift, extra, largest, dk, dv,
    q_batch, q_row, q_head, k_batch, k_row, k_head, v_batch, v_row, v_head,
    seen_batch, seen_head, seen_row, seen_column, gates_batch, gates_head, gates_row, gates_column,
    do_batch, do_row, do_head, T, S, factor, scale,
    GROUP: tl.constexpr, K: tl.constexpr, V: tl.constexpr,
    BK: tl.constexpr, BV: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Grid (blocks of S, G, B): dk and dv of BN keys."""
    first, groups = tl.program_id(0) * BN, tl.num_programs(1)
    group, batch = tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    column = first + tl.arange(0, BN)
    TYPE: tl.constexpr = q.dtype.element_ty
    keys = rows_of(k + batch * k_batch + group * k_head, first, S, k_row, K, BN, BK, True).to(TYPE)
    values = rows_of(v + batch * v_batch + group * v_head, first, S, v_row, V, BN, BV, True).to(TYPE)
    into_k = tl.zeros([BN, BK], tl.float32)
    into_v = tl.zeros([BN, BV], tl.float32)
    for member in range(0, GROUP):
        head = group * GROUP + member
        of_head = (batch * groups * GROUP + head) * T
        mask = seen + batch * seen_batch + head * seen_head
        for start in tl.range(0, T, BM):
            row = start + tl.arange(0, BM)
            sees = _pairs(mask, row, column, T, S, seen_row, seen_column) != 0
            if tl.max(tl.max(sees.to(tl.int32), 1), 0) > 0:
                queries = rows_of(q + batch * q_batch + head * q_head, start, T, q_row, K, BM, BK, True)
                into_o = rows_of(do + batch * do_batch + head * do_head, start, T, do_row, V, BM, BV, True).to(TYPE)
                gate = None
                if gates is not None:
                    of_gates = gates + batch * gates_batch + head * gates_head
                    gate = _pairs(of_gates, row, column, T, S, gates_row, gates_column).to(tl.float32)
                _, weights, _, into_scores = _gradients(
                    queries, keys, values, into_o, sees, gate, row, column, of_head, lse, shift, extra, largest,
                    T, factor,
                )  # fmt: skip
                if gates is not None:
                    weights *= gate
                    into_scores *= gate
                into_v = tl.dot(tl.trans(weights.to(TYPE)), into_o, into_v, input_precision="tf32x3")
                into_k = tl.dot(tl.trans(into_scores.to(TYPE)), queries, into_k, input_precision="tf32x3")
    store_rows(dk + (batch * S * groups + group) * K, into_k * scale, first, S, groups * K, K, BN, BK)
    store_rows(dv + (batch * S * groups + group) * V, into_v, first, S, groups * V, V, BN, BV)


class _MaskedAttention(torch.autograd.Function):
    """Sums and maxima are [B, H, T] here."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, seen: Tensor, gates: Tensor | None, scale: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, seen = packed(q), packed(k), packed(v), seen.view(torch.uint8)
        batch, count, heads, _ = q.shape
        o = torch.empty(batch, count, heads, v.shape[-1], dtype=v.dtype, device=q.device)
        total, most = (torch.empty(batch, heads, count, dtype=torch.float32, device=q.device) for _ in range(2))
        largest = torch.zeros(batch, heads, count, dtype=torch.int32, device=q.device)
        _, queries, _, constants = launch("fwd", q, v)
        masked_attention_fwd_kernel[(triton.cdiv(count, queries), heads, batch)](
            q, k, v, seen, gates, o, total, most, largest, *strides(q, 3), *strides(k, 3), *strides(v, 3),
            *strides(seen, 4), *strides(gates, 4), count, k.shape[1], scale * LOG2_E, **constants,
        )  # fmt: skip
        ctx.save_for_backward(q, k, v, seen, gates, o, total, most, largest)
        ctx.scale = scale
        ctx.set_materialize_grads(False)
        return o, total, most

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        q, k, v, seen, gates, o, total, most, largest = ctx.saved_tensors
        do, dtotal, dmost = gradients
        do = torch.zeros_like(o) if do is None else packed(do)
        shift, extra = -(do.float() * o.float()).sum(-1).transpose(1, 2), None
        if dtotal is not None or dmost is not None:
            change = torch.zeros_like(total) if dtotal is None else total * dtotal
            shift = shift + change
            extra = (-change if dmost is None else dmost - change).contiguous()
        lse = (most * LOG2_E + total.log2()).nan_to_num(neginf=0.0)  # of a query that sees nothing
        batch, count, heads, _ = q.shape
        dq, dk, dv = (torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (q, k, v))
        dgates = None if gates is None else torch.empty(gates.shape, dtype=gates.dtype, device=gates.device)
        given = (q, k, v, seen, gates, do, lse, shift.contiguous(), extra, largest)
        numbers = (
            *strides(q, 3), *strides(k, 3), *strides(v, 3), *strides(seen, 4), *strides(gates, 4), *strides(do, 3),
            count, k.shape[1], ctx.scale * LOG2_E, ctx.scale,
        )  # fmt: skip
        _, queries, _, constants = launch("bwd_dq", q, v)
        grid = (triton.cdiv(count, queries), heads, batch)
        masked_attention_bwd_dq_kernel[grid](*given, dq, dgates, *numbers, **constants)
        _, _, keys, constants = launch("bwd_dkv", q, v)
        grid = (triton.cdiv(k.shape[1], keys), k.shape[2], batch)
        masked_attention_bwd_dkv_kernel[grid](*given, dk, dv, *numbers, **constants)
        return dq, dk, dv, None, dgates, None


def masked_attention(
    q: Tensor, k: Tensor, v: Tensor, seen: Tensor, gates: Tensor | None, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """q [B, T, H, K], k, v [B, S, G, ...], seen, gates [B, H, T, S] -> o [B, T, H, V], sums, maxima [B, T, H, 1]."""
    large = max(q.shape[-1], v.shape[-1]) > LARGEST
    # A single query has no matrix of scores, and too few programs to walk over all keys.
    if large or not k.shape[1] or (q.shape[1] == 1 and not needs_gradient(q, k, v, gates)):
        return IMPLEMENTATIONS["chunked"](q, k, v, seen, gates, scale)
    o, total, most = _MaskedAttention.apply(q, k, v, seen, gates, scale)
    return o, total.transpose(1, 2)[..., None], most.transpose(1, 2)[..., None]
