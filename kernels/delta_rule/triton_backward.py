"""Gradients of the delta rule in Triton; names and bytes as in triton.py of this folder.

R is the gradient of the state after a chunk, Z that of B (V - E K S). From the last chunk to the first:

    Z = X^T (P^T dO + L K R),    R <- e^{g_C} R + scale Q^T E dO - K^T E B Z

With S, W, R and Z of every chunk the rest is parallel over chunks, where lower(.) keeps j <= i and strict(.) j < i:

    D = lower(dO W^T * G),   M = strict(-Z W^T * G)
    dQ = scale (D K + E dO S^T)
    dK = scale D^T Q - E B Z S^T + L W R^T + (B M + M^T B) K
    dV = B Z
    db_i = Z_i . V_i - e^{g_i} k_i . (Z S^T)_i + sum_j M_ij k_i . k_j

A log decay counts wherever it lies between the writing and the reading of something: for t in the chunk

    dlog a_t = sum_{i >= t} (sum_j (F_ij - F_ji) + e^{g_i} (scale q_i . (dO S^T)_i - b_i k_i . (Z S^T)_i))
             + sum_{j < t} e^{g_C - g_j} k_j . (W R^T)_j + e^{g_C} <S, R>,     F = (dO W^T) * P + B M * K K^T

With decays by key, G stays inside of the sums over tokens D K, D^T Q, M K and M^T B K, which `products_backward` gives;
db_i takes its last term from k_i . (M K)_i. What a token reads counts for its g and what it writes against it, so that
with the parts Q' of dQ, K' of dK by reading and K'' of dK by being read, the token's own product left out of them,

    dlog a_t = sum_{i >= t} (q_i Q'_i + k_i K'_i - k_i K''_i) + sum_{j < t} k_j (L W R^T)_j + e^{g_C} S . R,

where Q' and K' count what comes from the state, K'' does not, and all is element by element, S . R a sum over V.

    delta_rule_bwd_walk_kernel    sequential over chunks    reads q, k, X, P, dO: 2V + f (4K + 4C + 8)
                                                            by key, E Q, E K, L K for q, k: 2V + f (6K + 4C + 4)
                                                            writes Z: 2V, R: 2KV/C
    delta_rule_bwd_chunks_kernel  parallel over chunks      reads q, k, v, dO, W, Z, S, R, P: 4K + 8V + 4KV/C + 2C
                                                            (dO, W, Z again from L2 for each block of keys)
                                                            writes dq, dk, dv: 4K + 2V
                                                            by key, log decays and theirs for P: 8K - 2C more
"""

import triton
import triton.language as tl

from kernels.delta_rule.triton_decays import (
    BY_KEY,
    FLOOR,
    SCALAR,
    decay_between,
    floored,
    load_rows,
    products_backward,
    running_sum,
)
from kernels.tuning import tuned


@tuned(
    [(4, 2), (4, 2), (8, 2), (4, 2), (4, 1)],
    key=["KEYS", "VALUES", "DECAY", "crowd"],
    BLOCK_VALUES=[64, 32, 64, 16, 16],
)
@triton.jit
def delta_rule_bwd_walk_kernel(
    q, k, last_k, d_o, inverses, attention, gates, d_final, d_states, d_wanted, d_initial,
    q_batch, q_time, q_head, k_batch, k_time, k_head, o_batch, o_time, o_head,
    scale, length, chunks, heads, crowd,
    KEYS: tl.constexpr, VALUES: tl.constexpr, BLOCK_KEYS: tl.constexpr, BLOCK_VALUES: tl.constexpr,
    CHUNK: tl.constexpr, GATES: tl.constexpr, DECAY: tl.constexpr, FINAL: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """All chunks of one sequence and head backwards, for some of its value columns; with decays by key, q, k and last_k
    have decayed.
    """
    blocks = tl.cdiv(VALUES, BLOCK_VALUES)
    sequence = (tl.program_id(0) // blocks).to(tl.int64)
    batch, head = sequence // heads, sequence % heads
    position = tl.arange(0, CHUNK)
    key_column = tl.arange(0, BLOCK_KEYS)
    column = (tl.program_id(0) % blocks) * BLOCK_VALUES + tl.arange(0, BLOCK_VALUES)
    in_state = (key_column < KEYS)[:, None] & (column < VALUES)[None, :]
    state_offset = key_column[:, None] * VALUES + column[None, :]
    dtype = d_wanted.dtype.element_ty
    q += batch * q_batch + head * q_head
    k += batch * k_batch + head * k_head
    if DECAY == BY_KEY:
        last_k += batch * k_batch + head * k_head
    d_o += batch * o_batch + head * o_head
    out = (batch * length * heads + head) * VALUES
    d_state = tl.zeros([BLOCK_KEYS, BLOCK_VALUES], tl.float32)
    if FINAL:
        d_state += tl.load(d_final + sequence * KEYS * VALUES + state_offset, mask=in_state, other=0.0)
    square = position[:, None] * CHUNK + position[None, :]
    for done in range(chunks):
        chunk = chunks - 1 - done
        start = tl.cast(chunk, tl.int64) * CHUNK
        number = sequence * chunks + chunk
        inside = start + position < length
        key = load_rows(k + start * k_time, position, k_time, key_column, inside, KEYS)
        query = load_rows(q + start * q_time, position, q_time, key_column, inside, KEYS)
        d_out = load_rows(d_o + start * o_time, position, o_time, column, inside, VALUES)
        inverse = tl.load(inverses + number * CHUNK * CHUNK + square)
        attended = tl.load(attention + number * CHUNK * CHUNK + square)
        gate = gates + number * GATES
        strength = tl.load(gate + position)
        after = d_state.to(dtype)
        tl.store(d_states + number * KEYS * VALUES + state_offset, after, mask=in_state)
        last_key = key
        if DECAY == BY_KEY:
            last_key = load_rows(last_k + start * k_time, position, k_time, key_column, inside, KEYS)
            d_state *= tl.load(gate + CHUNK + key_column, mask=key_column < KEYS, other=0.0)[:, None]
        d_write = tl.dot(last_key, after, input_precision=PRECISION)
        d_read = d_out.to(tl.float32) * scale
        if DECAY == SCALAR:
            since_start = tl.load(gate + 2 * CHUNK + position)
            d_write *= tl.load(gate + 3 * CHUNK + position)[:, None]
            d_read *= since_start[:, None]
            strength *= since_start
            d_state *= tl.load(gate + 3 * CHUNK - 1)
        d_write = tl.dot(tl.trans(attended), d_out, acc=d_write, input_precision=PRECISION)
        wanted = tl.dot(tl.trans(inverse), d_write.to(dtype), input_precision=PRECISION)
        d_held = (wanted * -strength[:, None]).to(dtype)
        d_state = tl.dot(tl.trans(query), d_read.to(dtype), acc=d_state, input_precision=PRECISION)
        d_state = tl.dot(tl.trans(key), d_held, acc=d_state, input_precision=PRECISION)
        offset = out + (start + position)[:, None] * (heads * VALUES) + column[None, :]
        tl.store(d_wanted + offset, wanted.to(dtype), mask=inside[:, None] & (column < VALUES)[None, :])
    tl.store(d_initial + sequence * KEYS * VALUES + state_offset, d_state, mask=in_state)


@tuned(
    [(4, 2), (8, 2), (4, 3), (8, 3), (4, 2), (8, 2)],
    key=["KEYS", "VALUES", "DECAY"],
    BLOCK_KEYS=[64, 128, 64, 64, 32, 32],
)
@triton.jit
def delta_rule_bwd_chunks_kernel(
    q, k, v, log_decay, d_o, attention, gates, states, writes, d_states, d_wanted,
    d_q, d_k, d_v, d_beta, d_decay,
    q_batch, q_time, q_head, k_batch, k_time, k_head, v_batch, v_time, v_head,
    decay_batch, decay_time, decay_head, o_batch, o_time, o_head, scale, length, chunks, heads,
    KEYS: tl.constexpr, VALUES: tl.constexpr, BLOCK_KEYS: tl.constexpr, BLOCK_VALUES: tl.constexpr,
    CHUNK: tl.constexpr, GATES: tl.constexpr, DECAY: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One chunk of one sequence and head."""
    number = tl.program_id(0).to(tl.int64)
    chunk, sequence = number % chunks, number // chunks
    batch, head = sequence // heads, sequence % heads
    start = chunk * CHUNK
    position = tl.arange(0, CHUNK)
    inside = start + position < length
    dtype = d_q.dtype.element_ty
    q += batch * q_batch + head * q_head + start * q_time
    k += batch * k_batch + head * k_head + start * k_time
    v += batch * v_batch + head * v_head + start * v_time
    d_o += batch * o_batch + head * o_head + start * o_time
    token = (batch * length + start) * heads + head
    writes += token * VALUES
    d_wanted += token * VALUES
    states += number * KEYS * VALUES
    d_states += number * KEYS * VALUES
    gates += number * GATES
    strength = tl.load(gates + position)

    # What the tokens of the chunk do to each other, [C, C].
    d_attended = tl.zeros([CHUNK, CHUNK], tl.float32)
    d_similar = tl.zeros([CHUNK, CHUNK], tl.float32)
    d_strength = tl.zeros([CHUNK], tl.float32)
    for first in range(0, VALUES, BLOCK_VALUES):
        column = first + tl.arange(0, BLOCK_VALUES)
        d_out = load_rows(d_o, position, o_time, column, inside, VALUES)
        write = load_rows(writes, position, heads * VALUES, column, inside, VALUES)
        wanted = load_rows(d_wanted, position, heads * VALUES, column, inside, VALUES)
        value = load_rows(v, position, v_time, column, inside, VALUES).to(tl.float32)
        d_attended = tl.dot(d_out, tl.trans(write), acc=d_attended, input_precision=PRECISION)
        d_similar = tl.dot(wanted, tl.trans(write), acc=d_similar, input_precision=PRECISION)
        single = wanted.to(tl.float32)
        d_strength += tl.sum(single * value, 1)
        offset = token * VALUES + position[:, None] * (heads * VALUES) + column[None, :]
        d_value = (single * strength[:, None]).to(dtype)
        tl.store(d_v + offset, d_value, mask=inside[:, None] & (column < VALUES)[None, :])
    past = position[:, None] >= position[None, :]
    before = position[:, None] > position[None, :]
    if DECAY == SCALAR:
        square = number * CHUNK * CHUNK + position[:, None] * CHUNK + position[None, :]
        flow = d_attended * tl.load(attention + square).to(tl.float32)
        decay = decay_between(running_sum(tl.load(gates + CHUNK + position)), position)
        d_attended *= decay
        d_similar *= decay
    d_attended = tl.where(past, d_attended, 0.0) * scale
    d_similar = tl.where(before, -d_similar, 0.0)
    if DECAY == BY_KEY:
        own = tl.sum(tl.where(before, 0.0, d_attended), 1)[:, None]
        alike = d_similar.to(dtype)
        log_decay += batch * decay_batch + head * decay_head + start * decay_time
        d_decay += token * KEYS
    else:
        similar = tl.zeros([CHUNK, CHUNK], tl.float32)
        for first in range(0, KEYS, BLOCK_KEYS):
            key = load_rows(k, position, k_time, first + tl.arange(0, BLOCK_KEYS), inside, KEYS)
            similar = tl.dot(key, tl.trans(key), acc=similar, input_precision=PRECISION)
        d_strength += tl.sum(d_similar * similar, 1)
        d_similar *= strength[:, None]
        both = (d_similar + tl.trans(d_similar)).to(dtype)
    attended = d_attended.to(dtype)
    if DECAY == SCALAR:
        flow += d_similar * similar
        later = tl.sum(flow, 1) - tl.sum(flow, 0)  # of g_i, by what i reads and writes
        earlier = tl.zeros([CHUNK], tl.float32)  # of g_C - g_j, by what j leaves in the state
        of_end = 0.0  # of g_C, by what the state keeps
        since_start = tl.load(gates + 2 * CHUNK + position)[:, None]
        until_end = tl.load(gates + 3 * CHUNK + position)[:, None]

    # What they do to the state and the state to them, [C, K].
    for first_key in range(0, KEYS, BLOCK_KEYS):
        key_column = first_key + tl.arange(0, BLOCK_KEYS)
        if DECAY == BY_KEY:
            key = load_rows(k, position, k_time, key_column, inside, KEYS)
            query = load_rows(q, position, q_time, key_column, inside, KEYS)
            log_decays = load_rows(log_decay, position, decay_time, key_column, inside, KEYS)
            of_query, of_reader, of_written, total, left = products_backward(
                query, key, floored(log_decays), strength, position, attended, alike, PRECISION
            )
            since_start, until_end = tl.exp(total), tl.exp(left)
            d_strength += tl.sum(of_reader * key, 1)
            of_reader *= strength[:, None]
            later = of_query * query + (of_reader - of_written) * key
            of_query += own * key
            of_key = of_reader + of_written + own * query
        read = tl.zeros([CHUNK, BLOCK_KEYS], tl.float32)  # dO S^T
        held = tl.zeros([CHUNK, BLOCK_KEYS], tl.float32)  # Z S^T
        kept = tl.zeros([CHUNK, BLOCK_KEYS], tl.float32)  # W R^T
        survived = tl.zeros([BLOCK_KEYS], tl.float32)
        for first in range(0, VALUES, BLOCK_VALUES):
            column = first + tl.arange(0, BLOCK_VALUES)
            d_out = load_rows(d_o, position, o_time, column, inside, VALUES)
            write = load_rows(writes, position, heads * VALUES, column, inside, VALUES)
            wanted = load_rows(d_wanted, position, heads * VALUES, column, inside, VALUES)
            state = load_rows(states, key_column, VALUES, column, key_column < KEYS, VALUES)
            d_state = load_rows(d_states, key_column, VALUES, column, key_column < KEYS, VALUES)
            read = tl.dot(d_out, tl.trans(state), acc=read, input_precision=PRECISION)
            held = tl.dot(wanted, tl.trans(state), acc=held, input_precision=PRECISION)
            kept = tl.dot(write, tl.trans(d_state), acc=kept, input_precision=PRECISION)
            if DECAY:
                survived += tl.sum(state.to(tl.float32) * d_state.to(tl.float32), 1)
        stored = inside[:, None] & (key_column < KEYS)[None, :]
        offset = position[:, None] * (heads * KEYS) + key_column[None, :]
        key = load_rows(k, position, k_time, key_column, inside, KEYS)
        query = load_rows(q, position, q_time, key_column, inside, KEYS)
        read *= scale
        if DECAY:
            read *= since_start
        if DECAY == SCALAR:
            later += tl.sum(query * read, 1)
        if DECAY == BY_KEY:
            later += query * read
            read += of_query
        else:
            read = tl.dot(attended, key, acc=read, input_precision=PRECISION)
        tl.store(d_q + token * KEYS + offset, read.to(dtype), mask=stored)
        if DECAY:
            held *= since_start
            kept *= until_end
        through = tl.sum(key * held, 1)
        d_strength -= through
        held *= strength[:, None]
        if DECAY == SCALAR:
            later -= strength * through
            earlier += tl.sum(key * kept, 1)
            of_end += tl.sum(survived, 0)
        if DECAY == BY_KEY:
            later -= key * held
            change = key * kept - later
            survived *= tl.load(gates + CHUNK + key_column, mask=key_column < KEYS, other=0.0)
            d_log = (tl.cumsum(change, 0) - change) + (tl.sum(later, 0) + survived)[None, :]
            d_log = tl.where(log_decays.to(tl.float32) > FLOOR, d_log, 0.0)
            tl.store(d_decay + offset, d_log.to(d_decay.dtype.element_ty), mask=stored)
            kept += of_key - held
        else:
            kept -= held
            kept = tl.dot(tl.trans(attended), query, acc=kept, input_precision=PRECISION)
            kept = tl.dot(both, key, acc=kept, input_precision=PRECISION)
        tl.store(d_k + token * KEYS + offset, kept.to(dtype), mask=stored)

    gate = token + position * heads
    tl.store(d_beta + gate, d_strength.to(d_beta.dtype.element_ty), mask=inside)
    if DECAY == SCALAR:
        d_log = tl.sum(tl.where(past, later[:, None], earlier[:, None]), 0)
        d_log += tl.load(gates + 3 * CHUNK - 1) * of_end
        d_log = tl.where(tl.load(gates + CHUNK + position) > FLOOR, d_log, 0.0)  # below, all that it is, is rounding
        tl.store(d_decay + gate, d_log.to(d_decay.dtype.element_ty), mask=inside)
