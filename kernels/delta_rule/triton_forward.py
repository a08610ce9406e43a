"""The delta rule forward in Triton; names and bytes as in triton.py of this folder."""

import triton
import triton.language as tl

from kernels.delta_rule.triton_decays import (
    BY_KEY,
    SCALAR,
    decay_between,
    floored,
    load_rows,
    products,
    running_sum,
)
from kernels.tuning import tuned


@triton.jit
def _doubled(inverse, lower, position, SIZE: tl.constexpr, PRECISION: tl.constexpr):
    """Inverse of blocks of 2 SIZE from that of blocks of SIZE: [[x, 0], [-y a x, y]] for [[., 0], [a, .]]."""
    row, column = position[:, None], position[None, :]
    between = (row // SIZE != column // SIZE) & (row // (2 * SIZE) == column // (2 * SIZE))
    between = tl.where(between, lower, 0.0)
    product = tl.dot(inverse, between, input_precision=PRECISION)
    return inverse - tl.dot(product, inverse, input_precision=PRECISION)


@triton.jit
def _inverse(lower, position, CHUNK: tl.constexpr, PRECISION: tl.constexpr):
    """(I + lower)^-1 for a strictly lower triangular matrix [64, 64]."""
    # Blocks of 16 x 16 on the diagonal, all at once. The inverses are kept transposed, [block, column, row], so that
    # both sums of a step lie in threads of one warp, and rows of 16 are what a warp holds of a product.
    BLOCKS: tl.constexpr = CHUNK // 16
    number = tl.arange(0, BLOCKS)
    diagonal = number[:, None, None, None] == number[None, None, :, None]
    blocks = tl.sum(tl.where(diagonal, tl.reshape(lower, [BLOCKS, 16, BLOCKS, 16]), 0.0), 2)
    index = tl.arange(0, 16)
    first, second = index[None, :, None], index[None, None, :]
    small = tl.where((first == second) & (number >= 0)[:, None, None], 1.0, 0.0)
    for step in range(1, 16):
        coefficients = tl.sum(tl.where(first == step, blocks, 0.0), 1)
        known = tl.sum(coefficients[:, None, :] * small, 2)
        small = tl.where(second == step, small - known[:, :, None], small)
    inverse = tl.trans(tl.reshape(tl.where(diagonal, small[:, :, None, :], 0.0), [CHUNK, CHUNK]))
    inverse = _doubled(inverse, lower, position, 16, PRECISION)
    return _doubled(inverse, lower, position, 32, PRECISION)


@tuned([(4, 2), (4, 3), (8, 2)], key=["KEYS", "DECAY"])
@triton.jit
def delta_rule_fwd_chunks_kernel(
    q, k, beta, log_decay, inverses, attention, gates, decayed_q, decayed_k, last_k,
    q_batch, q_time, q_head, k_batch, k_time, k_head,
    beta_batch, beta_time, beta_head, decay_batch, decay_time, decay_head,
    scale, length, chunks, heads,
    KEYS: tl.constexpr, BLOCK_KEYS: tl.constexpr, CHUNK: tl.constexpr, GATES: tl.constexpr,
    DECAY: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """X and P of one chunk, and its gates, as float32 with the tokens of a head side by side.

    Gates are b and, with one decay for all keys, log a, e^g and e^{g_C - g}; with decays by key b and e^{g_C}, and E Q,
    E K and diag(e^{g_C - g}) K are stored like q.
    """
    program = tl.program_id(0).to(tl.int64)
    chunk, sequence = program % chunks, program // chunks
    batch, head = sequence // heads, sequence % heads
    start = chunk * CHUNK
    position = tl.arange(0, CHUNK)
    inside = start + position < length
    q += batch * q_batch + head * q_head + start * q_time
    k += batch * k_batch + head * k_head + start * k_time
    beta += batch * beta_batch + head * beta_head + start * beta_time
    strength = tl.load(beta + position * beta_time, mask=inside, other=0.0).to(tl.float32)
    gates += program * GATES
    tl.store(gates + position, strength)
    if DECAY:
        log_decay += batch * decay_batch + head * decay_head + start * decay_time
    similar = tl.zeros([CHUNK, CHUNK], tl.float32)
    attended = tl.zeros([CHUNK, CHUNK], tl.float32)
    for first in range(0, KEYS, BLOCK_KEYS):
        column = first + tl.arange(0, BLOCK_KEYS)
        key = load_rows(k, position, k_time, column, inside, KEYS)
        query = load_rows(q, position, q_time, column, inside, KEYS)
        if DECAY == BY_KEY:
            decays = floored(load_rows(log_decay, position, decay_time, column, inside, KEYS))
            attended, similar, total, left = products(query, key, decays, position, attended, similar, PRECISION)
            since_start = tl.exp(total)
            first_token = ((batch * length + start) * heads + head) * KEYS
            place = first_token + (position[:, None] * (heads * KEYS) + column[None, :])
            stored = inside[:, None] & (column < KEYS)[None, :]
            tl.store(decayed_q + place, (query * since_start).to(key.dtype), mask=stored)
            tl.store(decayed_k + place, (key * since_start).to(key.dtype), mask=stored)
            tl.store(last_k + place, (key * tl.exp(left)).to(key.dtype), mask=stored)
            end = tl.sum(tl.where((position == CHUNK - 1)[:, None], since_start, 0.0), 0)
            tl.store(gates + CHUNK + column, end, mask=column < KEYS)
        else:
            similar += tl.dot(key, tl.trans(key), input_precision=PRECISION)
            attended += tl.dot(query, tl.trans(key), input_precision=PRECISION)
    attended *= scale
    past = position[:, None] >= position[None, :]
    if DECAY == SCALAR:
        decays = floored(tl.load(log_decay + position * decay_time, mask=inside, other=0.0))
        total = running_sum(decays)
        end = tl.sum(tl.where(position == CHUNK - 1, total, 0.0), 0)
        tl.store(gates + CHUNK + position, decays)
        tl.store(gates + 2 * CHUNK + position, tl.exp(total.to(tl.float32)))
        tl.store(gates + 3 * CHUNK + position, tl.exp((end - total).to(tl.float32)))
        decay = decay_between(total, position)
        similar *= decay
        attended *= decay
    square = program * CHUNK * CHUNK + position[:, None] * CHUNK + position[None, :]
    tl.store(attention + square, tl.where(past, attended, 0.0).to(attention.dtype.element_ty))
    lower = tl.where(position[:, None] > position[None, :], strength[:, None] * similar, 0.0)
    inverse = _inverse(lower, position, CHUNK, PRECISION)
    tl.store(inverses + square, inverse.to(inverses.dtype.element_ty))


@tuned(
    [(4, 2), (4, 2), (8, 2), (4, 2), (4, 1)],
    key=["KEYS", "VALUES", "DECAY", "STORE", "crowd"],
    BLOCK_VALUES=[64, 32, 64, 16, 16],
)
@triton.jit
def delta_rule_fwd_walk_kernel(
    q, k, last_k, v, inverses, attention, gates, initial, o, final, states, writes,
    q_batch, q_time, q_head, k_batch, k_time, k_head, v_batch, v_time, v_head,
    scale, length, chunks, heads, crowd,
    KEYS: tl.constexpr, VALUES: tl.constexpr, BLOCK_KEYS: tl.constexpr, BLOCK_VALUES: tl.constexpr,
    CHUNK: tl.constexpr, GATES: tl.constexpr, DECAY: tl.constexpr,
    INITIAL: tl.constexpr, STORE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """All chunks of one sequence and head, for some of its value columns; with decays by key, q, k and last_k have
    decayed.
    """
    blocks = tl.cdiv(VALUES, BLOCK_VALUES)
    sequence = (tl.program_id(0) // blocks).to(tl.int64)
    batch, head = sequence // heads, sequence % heads
    position = tl.arange(0, CHUNK)
    key_column = tl.arange(0, BLOCK_KEYS)
    column = (tl.program_id(0) % blocks) * BLOCK_VALUES + tl.arange(0, BLOCK_VALUES)
    in_state = (key_column < KEYS)[:, None] & (column < VALUES)[None, :]
    state_offset = key_column[:, None] * VALUES + column[None, :]
    dtype = o.dtype.element_ty
    q += batch * q_batch + head * q_head
    k += batch * k_batch + head * k_head
    if DECAY == BY_KEY:
        last_k += batch * k_batch + head * k_head
    v += batch * v_batch + head * v_head
    out = (batch * length * heads + head) * VALUES
    state = tl.zeros([BLOCK_KEYS, BLOCK_VALUES], tl.float32)
    if INITIAL:
        state += tl.load(initial + sequence * KEYS * VALUES + state_offset, mask=in_state, other=0.0)
    square = position[:, None] * CHUNK + position[None, :]
    for chunk in range(chunks):
        start = tl.cast(chunk, tl.int64) * CHUNK
        number = sequence * chunks + chunk
        inside = start + position < length
        key = load_rows(k + start * k_time, position, k_time, key_column, inside, KEYS)
        query = load_rows(q + start * q_time, position, q_time, key_column, inside, KEYS)
        value = load_rows(v + start * v_time, position, v_time, column, inside, VALUES)
        inverse = tl.load(inverses + number * CHUNK * CHUNK + square)
        attended = tl.load(attention + number * CHUNK * CHUNK + square)
        gate = gates + number * GATES
        strength = tl.load(gate + position)
        before = state.to(dtype)
        if STORE:
            tl.store(states + number * KEYS * VALUES + state_offset, before, mask=in_state)
        held = tl.dot(key, before, input_precision=PRECISION)
        read = tl.dot(query, before, input_precision=PRECISION) * scale
        if DECAY == SCALAR:
            since_start = tl.load(gate + 2 * CHUNK + position)[:, None]
            held *= since_start
            read *= since_start
        wanted = strength[:, None] * (value.to(tl.float32) - held)
        write = tl.dot(inverse, wanted.to(dtype), input_precision=PRECISION)
        written = write.to(dtype)
        read = tl.dot(attended, written, acc=read, input_precision=PRECISION)
        kept, last_key = written, key
        if DECAY == SCALAR:
            state *= tl.load(gate + 3 * CHUNK - 1)
            kept = (write * tl.load(gate + 3 * CHUNK + position)[:, None]).to(dtype)
        if DECAY == BY_KEY:
            state *= tl.load(gate + CHUNK + key_column, mask=key_column < KEYS, other=0.0)[:, None]
            last_key = load_rows(last_k + start * k_time, position, k_time, key_column, inside, KEYS)
        state = tl.dot(tl.trans(last_key), kept, acc=state, input_precision=PRECISION)
        offset = out + (start + position)[:, None] * (heads * VALUES) + column[None, :]
        stored = inside[:, None] & (column < VALUES)[None, :]
        tl.store(o + offset, read.to(dtype), mask=stored)
        if STORE:
            tl.store(writes + offset, written, mask=stored)
    tl.store(final + sequence * KEYS * VALUES + state_offset, state, mask=in_state)
