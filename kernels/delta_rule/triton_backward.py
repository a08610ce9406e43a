"""Gradients of the delta rule in Triton; names and bytes as in triton.py of this folder.

R is the gradient of the state after a chunk, Z that of B (V - E K S). From the last chunk to the first:

    Z = X^T (P^T dO + diag(e^{g_C - g}) K R),    R <- e^{g_C} R + scale Q^T E dO - K^T E B Z

With S, W, R and Z of every chunk the rest is parallel over chunks, where lower(.) keeps j <= i and strict(.) j < i:

    D = lower(dO W^T * G),   M = strict(-Z W^T * G)
    dQ = scale (D K + E dO S^T)
    dK = scale D^T Q - E B Z S^T + diag(e^{g_C - g}) W R^T + (B M + M^T B) K
    dV = B Z
    db_i = Z_i . V_i - e^{g_i} k_i . (Z S^T)_i + sum_j M_ij k_i . k_j

A log decay counts wherever it lies between the writing and the reading of something: for t in the chunk

    dlog a_t = sum_{i >= t} (sum_j (F_ij - F_ji) + e^{g_i} (scale q_i . (dO S^T)_i - b_i k_i . (Z S^T)_i))
             + sum_{j < t} e^{g_C - g_j} k_j . (W R^T)_j + e^{g_C} <S, R>,     F = (dO W^T) * P + B M * K K^T

    delta_rule_bwd_walk_kernel    sequential over chunks    reads q, k, X, P, dO: 2V + f (4K + 4C + 8)
                                                            writes Z: 2V, R: 2KV/C
    delta_rule_bwd_chunks_kernel  parallel over chunks      reads q, k, v, dO, W, Z, S, R, P: 4K + 8V + 4KV/C + 2C
                                                            (dO, W, Z again from L2 for each block of keys)
                                                            writes dq, dk, dv: 4K + 2V
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.chunks import STRONGEST
from kernels.tuning import block, packed, tuned

FLOOR = tl.constexpr(STRONGEST)


@triton.jit
def load_rows(pointer, row, stride, column, inside, WIDTH: tl.constexpr):
    """A tile of rows whose last dimension is contiguous; 0 outside."""
    mask = inside[:, None] & (column < WIDTH)[None, :]
    return tl.load(pointer + row[:, None] * stride + column[None, :], mask=mask, other=0.0)


@triton.jit
def running_sum(decays):
    """g in float64: 64 tokens of it cost nothing, and its differences keep all digits of float32."""
    return tl.cumsum(decays.to(tl.float64), 0)


@triton.jit
def decay_between(total, position):
    """e^{g_i - g_j} for j <= i, else 1: that difference could be large."""
    past = position[:, None] >= position[None, :]
    difference = (total[:, None] - total[None, :]).to(tl.float32)
    return tl.exp(tl.where(past, difference, 0.0))


@tuned(
    [(4, 2), (4, 2), (8, 2), (4, 2), (4, 1)],
    key=["KEYS", "VALUES", "DECAY", "crowd"],
    BLOCK_VALUES=[64, 32, 64, 16, 16],
)
@triton.jit
def delta_rule_bwd_walk_kernel(
    q, k, d_o, inverses, attention, gates, d_final, d_states, d_wanted, d_initial,
    q_batch, q_time, q_head, k_batch, k_time, k_head, o_batch, o_time, o_head,
    scale, length, chunks, heads, crowd,
    KEYS: tl.constexpr, VALUES: tl.constexpr, BLOCK_KEYS: tl.constexpr, BLOCK_VALUES: tl.constexpr,
    CHUNK: tl.constexpr, DECAY: tl.constexpr, FINAL: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """All chunks of one sequence and head backwards, for some of its value columns."""
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
        gate = gates + number * (4 if DECAY else 1) * CHUNK
        strength = tl.load(gate + position)
        after = d_state.to(dtype)
        tl.store(d_states + number * KEYS * VALUES + state_offset, after, mask=in_state)
        d_write = tl.dot(key, after, input_precision=PRECISION)
        d_read = d_out.to(tl.float32) * scale
        if DECAY:
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
    [(4, 2), (8, 2), (4, 3), (8, 3), (4, 2)],
    key=["KEYS", "VALUES", "DECAY"],
    BLOCK_KEYS=[64, 128, 64, 64, 32],
)
@triton.jit
def delta_rule_bwd_chunks_kernel(
    q, k, v, d_o, attention, gates, states, writes, d_states, d_wanted,
    d_q, d_k, d_v, d_beta, d_decay,
    q_batch, q_time, q_head, k_batch, k_time, k_head, v_batch, v_time, v_head, o_batch, o_time, o_head,
    scale, length, chunks, heads,
    KEYS: tl.constexpr, VALUES: tl.constexpr, BLOCK_KEYS: tl.constexpr, BLOCK_VALUES: tl.constexpr,
    CHUNK: tl.constexpr, DECAY: tl.constexpr, PRECISION: tl.constexpr,
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
    gates += number * (4 if DECAY else 1) * CHUNK
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
    similar = tl.zeros([CHUNK, CHUNK], tl.float32)
    for first in range(0, KEYS, BLOCK_KEYS):
        key = load_rows(k, position, k_time, first + tl.arange(0, BLOCK_KEYS), inside, KEYS)
        similar = tl.dot(key, tl.trans(key), acc=similar, input_precision=PRECISION)
    past = position[:, None] >= position[None, :]
    before = position[:, None] > position[None, :]
    if DECAY:
        square = number * CHUNK * CHUNK + position[:, None] * CHUNK + position[None, :]
        flow = d_attended * tl.load(attention + square).to(tl.float32)
        decay = decay_between(running_sum(tl.load(gates + CHUNK + position)), position)
        d_attended *= decay
        d_similar *= decay
    attended = (tl.where(past, d_attended, 0.0) * scale).to(dtype)
    d_similar = tl.where(before, -d_similar, 0.0)
    d_strength += tl.sum(d_similar * similar, 1)
    d_similar *= strength[:, None]
    if DECAY:
        flow += d_similar * similar
        later = tl.sum(flow, 1) - tl.sum(flow, 0)  # of g_i, by what i reads and writes
        earlier = tl.zeros([CHUNK], tl.float32)  # of g_C - g_j, by what j leaves in the state
        survived = tl.zeros([BLOCK_KEYS], tl.float32)
        since_start = tl.load(gates + 2 * CHUNK + position)[:, None]
        until_end = tl.load(gates + 3 * CHUNK + position)[:, None]
    both = (d_similar + tl.trans(d_similar)).to(dtype)

    # What they do to the state and the state to them, [C, K].
    for first_key in range(0, KEYS, BLOCK_KEYS):
        key_column = first_key + tl.arange(0, BLOCK_KEYS)
        read = tl.zeros([CHUNK, BLOCK_KEYS], tl.float32)  # dO S^T
        held = tl.zeros([CHUNK, BLOCK_KEYS], tl.float32)  # Z S^T
        kept = tl.zeros([CHUNK, BLOCK_KEYS], tl.float32)  # W R^T
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
        offset = token * KEYS + position[:, None] * (heads * KEYS) + key_column[None, :]
        stored = inside[:, None] & (key_column < KEYS)[None, :]
        key = load_rows(k, position, k_time, key_column, inside, KEYS)
        query = load_rows(q, position, q_time, key_column, inside, KEYS)
        read *= scale
        if DECAY:
            read *= since_start
            later += tl.sum(query.to(tl.float32) * read, 1)
        read = tl.dot(attended, key, acc=read, input_precision=PRECISION)
        tl.store(d_q + offset, read.to(dtype), mask=stored)
        single = key.to(tl.float32)
        if DECAY:
            held *= since_start
            kept *= until_end
            earlier += tl.sum(single * kept, 1)
        through = tl.sum(single * held, 1)
        d_strength -= through
        kept -= held * strength[:, None]
        kept = tl.dot(tl.trans(attended), query, acc=kept, input_precision=PRECISION)
        kept = tl.dot(both, key, acc=kept, input_precision=PRECISION)
        tl.store(d_k + offset, kept.to(dtype), mask=stored)
        if DECAY:
            later -= strength * through

    gate = token + position * heads
    tl.store(d_beta + gate, d_strength.to(d_beta.dtype.element_ty), mask=inside)
    if DECAY:
        d_log = tl.sum(tl.where(past, later[:, None], earlier[:, None]), 0)
        d_log += tl.load(gates + 3 * CHUNK - 1) * tl.sum(survived, 0)
        d_log = tl.where(tl.load(gates + CHUNK + position) > FLOOR, d_log, 0.0)  # below, all that it is, is rounding
        tl.store(d_decay + gate, d_log.to(d_decay.dtype.element_ty), mask=inside)


def gradients(
    saved: tuple[Tensor, ...], d_o: Tensor | None, d_final: Tensor | None,
    scale: float, flags: dict, gate_dtypes: tuple[torch.dtype, torch.dtype | None], inputs: bool,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Gradients of q, k, v, beta, log_decay (all None unless `inputs`) and of the initial state.

    Args:
        saved: q, k, v, X, P, gates, S and W, as the forward pass leaves them.
        d_o: gradient of o.
        d_final: gradient of the final state.
        scale: of the queries.
        flags: constants that the kernels of both passes share.
        gate_dtypes: of beta and log_decay.
        inputs: whether more than the gradient of the initial state is wanted.
    """
    q, k, v, inverses, attention, gates, states, writes = saved
    if d_o is None and d_final is None:
        return (None,) * 6
    batch, length, heads, keys = q.shape
    values = v.shape[-1]
    sequences, chunks = states.shape[:2]
    d_o = torch.zeros_like(writes) if d_o is None else packed(d_o)
    d_final = d_final if d_final is None else d_final.contiguous()
    d_states, d_wanted = torch.empty_like(states), torch.empty_like(writes)
    d_initial = torch.empty(batch, heads, keys, values, device=q.device, dtype=torch.float32)
    delta_rule_bwd_walk_kernel[lambda meta: (sequences * triton.cdiv(values, meta["BLOCK_VALUES"]),)](
        q, k, d_o, inverses, attention, gates, d_final, d_states, d_wanted, d_initial,
        *q.stride()[:3], *k.stride()[:3], *d_o.stride()[:3],
        scale, length, chunks, heads, triton.next_power_of_2(sequences),
        KEYS=keys, VALUES=values, BLOCK_KEYS=block(keys), FINAL=d_final is not None, **flags,
    )  # fmt: skip
    if not inputs:
        return *(None,) * 5, d_initial
    d_q, d_k, d_v = (torch.empty(x.shape, device=x.device, dtype=x.dtype) for x in (q, k, v))
    d_beta, d_decay = (
        None if dtype is None else torch.empty(batch, length, heads, device=q.device, dtype=dtype)
        for dtype in gate_dtypes
    )
    delta_rule_bwd_chunks_kernel[(sequences * chunks,)](
        q, k, v, d_o, attention, gates, states, writes, d_states, d_wanted, d_q, d_k, d_v, d_beta, d_decay,
        *q.stride()[:3], *k.stride()[:3], *v.stride()[:3], *d_o.stride()[:3], scale, length, chunks, heads,
        KEYS=keys, VALUES=values, BLOCK_VALUES=min(64, block(values)), **flags,
    )  # fmt: skip
    return d_q, d_k, d_v, d_beta, d_decay, d_initial
