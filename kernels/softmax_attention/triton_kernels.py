"""Attention within a window, forward and backward, without the matrix of scores (2307.08691).

Shapes: B sequences, T queries, N = P + T keys (the queries are the last T of the N tokens), H query heads, G key-value
heads, K key size, V value size. A query at position p sees the keys p - window < s <= p; window None means s <= p.

A program of `fwd` or `bwd_dq` owns BM queries of a head and walks over the blocks of BN keys that any of them sees; a
program of `bwd_dkv` owns BN keys of a key-value head and walks, for each query head of its group, over the queries that
see any of them, so nothing is added up between programs. Blocks that an edge of the window cuts are masked, those
between are not. With s = factor q k (factor holds log2 e) and what the forward pass keeps,
lse = log2 sum 2^s, the weights are w = 2^(s - lse), and with delta = do . o

    ds = w (do v - delta),   dq = scale sum_s ds k,   dk = scale sum_t ds q,   dv = sum_t w do.

Read and written per token and head, in elements (keys and values count G / H, and (window + BM) / BM times where the
second-level cache does not hold them): `fwd` q, k, v and o; `bwd_dq` q, o, do, k, v and dq, and delta for `bwd_dkv`,
which reads q, do, k, v and writes dk, dv.
"""

import triton
import triton.language as tl

from kernels.tuning import tuned

SMALL = [(4, 3), (8, 3), (4, 2), (8, 2)]
LARGE = [(8, 2), (8, 1)]
"""For rows beyond 256 bytes: fewer warps do not hold the sums, more stages do not fit (two only on Hopper)."""


@triton.jit
def rows_of(
    x, first, limit, row, SIZE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, CHECK: tl.constexpr
):  # fmt: skip
    """[ROWS, BLOCK] from row `first` on, zero past SIZE and, where checked, past row `limit`."""
    rows, columns = tl.arange(0, ROWS), tl.arange(0, BLOCK)
    places = x + tl.cast(first, tl.int64) * row + rows[:, None] * row + columns[None, :]
    if CHECK:
        tile = tl.load(places, (first + rows < limit)[:, None] & (columns < SIZE)[None, :], other=0.0)
    elif SIZE == BLOCK:
        tile = tl.load(places)
    else:
        tile = tl.load(places, (columns < SIZE)[None, :], other=0.0)
    return tile


@triton.jit
def store_rows(x, tile, first, limit, row, SIZE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """The reverse, up to row `limit`."""
    rows, columns = tl.arange(0, ROWS), tl.arange(0, BLOCK)
    places = x + tl.cast(first, tl.int64) * row + rows[:, None] * row + columns[None, :]
    mask = (first + rows < limit)[:, None] & (columns < SIZE)[None, :]
    tl.store(places, tile.to(x.dtype.element_ty), mask)


@triton.jit
def _seen(query, key, window):
    seen = key <= query
    if window is not None:
        seen = seen & (key > query - window)
    return seen


@triton.jit
def _keys_seen(first, P, N, window, BM: tl.constexpr, BN: tl.constexpr):
    """Key blocks of BM queries: begin, begin of those that all see whole, their end, end."""
    end = tl.minimum(P + first + BM, N)
    diagonal = (P + first + 1) // BN * BN
    if window is None:
        begin = 0
        whole = 0
    else:
        begin = tl.maximum(P + first + 1 - window, 0) // BN * BN
        whole = tl.minimum((tl.maximum(P + first + BM - window, 0) + BN - 1) // BN * BN, diagonal)
    return begin, whole, diagonal, end


@triton.jit
def _queries_seeing(first, P, T, window, BM: tl.constexpr, BN: tl.constexpr):
    """Query blocks of BN keys: begin, begin of those where all see all, their end, end."""
    begin = tl.maximum(first - P, 0) // BM * BM
    diagonal = (tl.maximum(first + BN - 1 - P, 0) + BM - 1) // BM * BM
    end = T
    whole = T // BM * BM
    if window is not None:
        end = tl.minimum(T, tl.maximum(first + BN - 1 + window - P, 0))
        whole = tl.minimum(T, tl.maximum(first + window - P, 0)) // BM * BM
    return begin, tl.minimum(diagonal, end), whole, end


@triton.jit
def _attend(
    o, top, total, q, k, v, k_row, v_row, begin, end, position, N, window, factor,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, BN: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    for start in tl.range(begin, end, BN):
        keys = rows_of(k, start, N, k_row, K, BN, BK, MASKED)
        scores = tl.dot(q, tl.trans(keys), input_precision="tf32x3")
        if MASKED:
            seen = _seen(position[:, None], (start + tl.arange(0, BN))[None, :], window)
            scores = tl.where(seen, scores, float("-inf"))
        higher = tl.maximum(top, tl.max(scores, 1) * factor)
        weights = tl.exp2(scores * factor - higher[:, None])
        fade = tl.exp2(top - higher)
        total = total * fade + tl.sum(weights, 1)
        values = rows_of(v, start, N, v_row, V, BN, BV, MASKED)
        o = tl.dot(weights.to(values.dtype), values, o * fade[:, None], input_precision="tf32x3")
        top = higher
    return o, top, total


@triton.jit
def softmax_attention_fwd_kernel(
    q, k, v, o, lse, q_batch, q_row, q_head, k_batch, k_row, k_head, v_batch, v_row, v_head, T, P, window, factor,
    GROUP: tl.constexpr, K: tl.constexpr, V: tl.constexpr,
    BK: tl.constexpr, BV: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Grid (blocks of T, H, B): o and lse of BM queries."""
    # The last queries see most: they begin first.
    first = (tl.num_programs(0) - 1 - tl.program_id(0)) * BM
    head, batch = tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    heads = tl.num_programs(1)
    N = P + T
    queries = rows_of(q + batch * q_batch + head * q_head, first, T, q_row, K, BM, BK, True)
    k += batch * k_batch + head // GROUP * k_head
    v += batch * v_batch + head // GROUP * v_head
    position = P + first + tl.arange(0, BM)
    sums = tl.zeros([BM, BV], tl.float32)
    # Below every score, but finite: a block may hold no key that a query sees.
    top = tl.full([BM], -1e30, tl.float32)
    total = tl.zeros([BM], tl.float32)
    begin, whole, diagonal, end = _keys_seen(first, P, N, window, BM, BN)
    if window is not None:
        sums, top, total = _attend(
            sums, top, total, queries, k, v, k_row, v_row, begin, whole, position, N, window, factor,
            K, V, BK, BV, BN, True,
        )  # fmt: skip
    sums, top, total = _attend(
        sums, top, total, queries, k, v, k_row, v_row, whole, diagonal, position, N, window, factor,
        K, V, BK, BV, BN, False,
    )  # fmt: skip
    sums, top, total = _attend(
        sums, top, total, queries, k, v, k_row, v_row, diagonal, end, position, N, window, factor,
        K, V, BK, BV, BN, True,
    )  # fmt: skip
    # Rows past the last query may have seen nothing.
    total = tl.maximum(total, 1e-30)
    store_rows(o + (batch * T * heads + head) * V, sums / total[:, None], first, T, heads * V, V, BM, BV)
    rows = first + tl.arange(0, BM)
    tl.store(lse + (batch * heads + head) * T + rows, top + tl.log2(total), rows < T)


@triton.jit
def _into_queries(
    dq, q, do, lse, delta, k, v, k_row, v_row, begin, end, position, N, window, factor,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, BN: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    for start in tl.range(begin, end, BN):
        keys = rows_of(k, start, N, k_row, K, BN, BK, MASKED)
        scores = tl.dot(q, tl.trans(keys), input_precision="tf32x3")
        weights = tl.exp2(scores * factor - lse[:, None])
        if MASKED:
            seen = _seen(position[:, None], (start + tl.arange(0, BN))[None, :], window)
            weights = tl.where(seen, weights, 0.0)
        values = rows_of(v, start, N, v_row, V, BN, BV, MASKED)
        into = tl.dot(do, tl.trans(values), input_precision="tf32x3")
        into = weights * (into - delta[:, None])
        dq = tl.dot(into.to(keys.dtype), keys, dq, input_precision="tf32x3")
    return dq


@triton.jit
def softmax_attention_bwd_dq_kernel(
    q, k, v, o, do, lse, delta, dq, q_batch, q_row, q_head, k_batch, k_row, k_head, v_batch, v_row, v_head,
    do_batch, do_row, do_head, T, P, window, factor, scale,
    GROUP: tl.constexpr, K: tl.constexpr, V: tl.constexpr,
    BK: tl.constexpr, BV: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Delta, and dq where it is wanted."""
    first = (tl.num_programs(0) - 1 - tl.program_id(0)) * BM
    head, batch = tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    heads = tl.num_programs(1)
    N = P + T
    rows = first + tl.arange(0, BM)
    of_head = (batch * heads + head) * T
    into_o = rows_of(do + batch * do_batch + head * do_head, first, T, do_row, V, BM, BV, True)
    outputs = rows_of(o + (batch * T * heads + head) * V, first, T, heads * V, V, BM, BV, True)
    deltas = tl.sum(into_o.to(tl.float32) * outputs.to(tl.float32), 1)
    tl.store(delta + of_head + rows, deltas, rows < T)
    if dq is not None:
        queries = rows_of(q + batch * q_batch + head * q_head, first, T, q_row, K, BM, BK, True)
        k += batch * k_batch + head // GROUP * k_head
        v += batch * v_batch + head // GROUP * v_head
        logs = tl.load(lse + of_head + rows, rows < T, other=0.0)
        sums = tl.zeros([BM, BK], tl.float32)
        begin, whole, diagonal, end = _keys_seen(first, P, N, window, BM, BN)
        if window is not None:
            sums = _into_queries(
                sums, queries, into_o, logs, deltas, k, v, k_row, v_row, begin, whole, P + rows, N, window, factor,
                K, V, BK, BV, BN, True,
            )  # fmt: skip
        sums = _into_queries(
            sums, queries, into_o, logs, deltas, k, v, k_row, v_row, whole, diagonal, P + rows, N, window, factor,
            K, V, BK, BV, BN, False,
        )  # fmt: skip
        sums = _into_queries(
            sums, queries, into_o, logs, deltas, k, v, k_row, v_row, diagonal, end, P + rows, N, window, factor,
            K, V, BK, BV, BN, True,
        )  # fmt: skip
        store_rows(dq + (batch * T * heads + head) * K, sums * scale, first, T, heads * K, K, BM, BK)


@triton.jit
def _into_keys(
    dk, dv, keys, values, q, do, lse, delta, q_row, do_row, begin, end, place, T, P, window, factor,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, BM: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    for start in tl.range(begin, end, BM):
        rows = start + tl.arange(0, BM)
        queries = rows_of(q, start, T, q_row, K, BM, BK, MASKED)
        if MASKED:
            logs = tl.load(lse + rows, rows < T, other=0.0)
            deltas = tl.load(delta + rows, rows < T, other=0.0)
        else:
            logs = tl.load(lse + rows)
            deltas = tl.load(delta + rows)
        scores = tl.dot(keys, tl.trans(queries), input_precision="tf32x3")
        weights = tl.exp2(scores * factor - logs[None, :])
        if MASKED:
            seen = _seen((P + rows)[None, :], place[:, None], window) & (rows < T)[None, :]
            weights = tl.where(seen, weights, 0.0)
        into_o = rows_of(do, start, T, do_row, V, BM, BV, MASKED)
        dv = tl.dot(weights.to(into_o.dtype), into_o, dv, input_precision="tf32x3")
        into = tl.dot(values, tl.trans(into_o), input_precision="tf32x3")
        into = weights * (into - deltas[None, :])
        dk = tl.dot(into.to(queries.dtype), queries, dk, input_precision="tf32x3")
    return dk, dv


@triton.jit
def softmax_attention_bwd_dkv_kernel(
    q, k, v, do, lse, delta, dk, dv, q_batch, q_row, q_head, k_batch, k_row, k_head, v_batch, v_row, v_head,
    do_batch, do_row, do_head, T, P, window, factor, scale,
    GROUP: tl.constexpr, K: tl.constexpr, V: tl.constexpr,
    BK: tl.constexpr, BV: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Grid (blocks of N, G, B): dk and dv of BN keys."""
    first = tl.program_id(0) * BN
    group, batch = tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    groups = tl.num_programs(1)
    N = P + T
    place = first + tl.arange(0, BN)
    keys = rows_of(k + batch * k_batch + group * k_head, first, N, k_row, K, BN, BK, True)
    values = rows_of(v + batch * v_batch + group * v_head, first, N, v_row, V, BN, BV, True)
    into_k = tl.zeros([BN, BK], tl.float32)
    into_v = tl.zeros([BN, BV], tl.float32)
    begin, whole, right, end = _queries_seeing(first, P, T, window, BM, BN)
    for member in range(0, GROUP):
        head = group * GROUP + member
        of_head = (batch * groups * GROUP + head) * T
        query = q + batch * q_batch + head * q_head
        into_o = do + batch * do_batch + head * do_head
        into_k, into_v = _into_keys(
            into_k, into_v, keys, values, query, into_o, lse + of_head, delta + of_head, q_row, do_row,
            begin, whole, place, T, P, window, factor, K, V, BK, BV, BM, True,
        )  # fmt: skip
        into_k, into_v = _into_keys(
            into_k, into_v, keys, values, query, into_o, lse + of_head, delta + of_head, q_row, do_row,
            whole, right, place, T, P, window, factor, K, V, BK, BV, BM, False,
        )  # fmt: skip
        into_k, into_v = _into_keys(
            into_k, into_v, keys, values, query, into_o, lse + of_head, delta + of_head, q_row, do_row,
            tl.maximum(whole, right), end, place, T, P, window, factor, K, V, BK, BV, BM, True,
        )  # fmt: skip
    store_rows(dk + (batch * N * groups + group) * K, into_k * scale, first, N, groups * K, K, BN, BK)
    store_rows(dv + (batch * N * groups + group) * V, into_v, first, N, groups * V, V, BN, BV)


KEY = ["K", "V", "GROUP"]
FORWARD = {
    "small": tuned(SMALL, KEY)(softmax_attention_fwd_kernel),
    "large": tuned(LARGE, KEY)(softmax_attention_fwd_kernel),
}
# Four warps do not hold two score tiles and the sums of 128 queries.
BACKWARD_DQ = {
    "small": tuned([(8, 3), (8, 2)], KEY)(softmax_attention_bwd_dq_kernel),
    "large": tuned(LARGE, KEY)(softmax_attention_bwd_dq_kernel),
}
BACKWARD_DKV = {
    "small": tuned(SMALL, KEY)(softmax_attention_bwd_dkv_kernel),
    "large": tuned(LARGE, KEY)(softmax_attention_bwd_dkv_kernel),
}
