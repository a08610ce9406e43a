"""The delta rule in Triton: whole sequences in chunks of C = 64 tokens, and a single token.

With g the running sum of log decays in a chunk (its own token included), G_ij = e^{g_i - g_j} for j <= i,
E = diag(e^g), B = diag(b) and S the state before the chunk, what its tokens write is W [C, V]:

    (I + A) W = B (V - E K S),           A = strictly lower part of B (K K^T * G)
    O = scale E Q S + P W,               P = lower part of scale (Q K^T * G)
    S' = e^{g_C} S + K^T diag(e^{g_C - g}) W

g is float64, so that g_i - g_j is exact however strong the decays before both are; no log decay is below FLOOR.
X = (I + A)^-1 comes from substitution, never from powers of A, so repeated keys are exact too.

Shapes: B sequences, T tokens, H heads, N chunks of C tokens, K key size, V value size. Bytes a token and head in
bfloat16, where f is the number of blocks into which V is split (a block but the first reads from L2, as a rule):

    delta_rule_fwd_chunks_kernel  parallel over chunks      reads q, k: 4K
                                                            writes X, P, gates: 4C + 16
    delta_rule_fwd_walk_kernel    sequential over chunks    reads q, k, v, X, P: 2V + f (4K + 4C + 12)
                                                            writes o: 2V, and for gradients W: 2V, S: 2KV/C
    delta_rule_step_kernel        one token                 reads and writes the state: 8KV

The state is float32 in registers from the first chunk to the last; operands of products have the dtype of the inputs.
Products of float32 are made of three in TF32: plain ones would have no tensor cores and take minutes to compile.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.backend import needs_gradient
from kernels.delta_rule import IMPLEMENTATIONS
from kernels.delta_rule.triton_backward import FLOOR, decay_between, gradients, load_rows, running_sum
from kernels.tuning import block, packed, strides, tuned

CHUNK = 64


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
    q, k, beta, log_decay, inverses, attention, gates,
    q_batch, q_time, q_head, k_batch, k_time, k_head,
    beta_batch, beta_time, beta_head, decay_batch, decay_time, decay_head,
    scale, length, chunks, heads,
    KEYS: tl.constexpr, BLOCK_KEYS: tl.constexpr, CHUNK: tl.constexpr,
    DECAY: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """X and P of one chunk; b, log a, e^g and e^{g_C - g} as float32 with the tokens of a head side by side."""
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
    gates += program * (4 if DECAY else 1) * CHUNK + position
    tl.store(gates, strength)
    similar = tl.zeros([CHUNK, CHUNK], tl.float32)
    attended = tl.zeros([CHUNK, CHUNK], tl.float32)
    for first in range(0, KEYS, BLOCK_KEYS):
        column = first + tl.arange(0, BLOCK_KEYS)
        key = load_rows(k, position, k_time, column, inside, KEYS)
        query = load_rows(q, position, q_time, column, inside, KEYS)
        similar += tl.dot(key, tl.trans(key), input_precision=PRECISION)
        attended += tl.dot(query, tl.trans(key), input_precision=PRECISION)
    attended *= scale
    past = position[:, None] >= position[None, :]
    if DECAY:
        log_decay += batch * decay_batch + head * decay_head + start * decay_time
        decays = tl.load(log_decay + position * decay_time, mask=inside, other=0.0).to(tl.float32)
        decays = tl.where(decays < FLOOR, FLOOR, decays)  # tl.maximum would hide NaN
        total = running_sum(decays)
        end = tl.sum(tl.where(position == CHUNK - 1, total, 0.0), 0)
        tl.store(gates + CHUNK, decays)
        tl.store(gates + 2 * CHUNK, tl.exp(total.to(tl.float32)))
        tl.store(gates + 3 * CHUNK, tl.exp((end - total).to(tl.float32)))
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
    q, k, v, inverses, attention, gates, initial, o, final, states, writes,
    q_batch, q_time, q_head, k_batch, k_time, k_head, v_batch, v_time, v_head,
    scale, length, chunks, heads, crowd,
    KEYS: tl.constexpr, VALUES: tl.constexpr, BLOCK_KEYS: tl.constexpr, BLOCK_VALUES: tl.constexpr,
    CHUNK: tl.constexpr, DECAY: tl.constexpr, INITIAL: tl.constexpr, STORE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """All chunks of one sequence and head, for some of its value columns."""
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
        gate = gates + number * (4 if DECAY else 1) * CHUNK
        strength = tl.load(gate + position)
        before = state.to(dtype)
        if STORE:
            tl.store(states + number * KEYS * VALUES + state_offset, before, mask=in_state)
        held = tl.dot(key, before, input_precision=PRECISION)
        read = tl.dot(query, before, input_precision=PRECISION) * scale
        if DECAY:
            since_start = tl.load(gate + 2 * CHUNK + position)[:, None]
            held *= since_start
            read *= since_start
        wanted = strength[:, None] * (value.to(tl.float32) - held)
        write = tl.dot(inverse, wanted.to(dtype), input_precision=PRECISION)
        written = write.to(dtype)
        read = tl.dot(attended, written, acc=read, input_precision=PRECISION)
        if DECAY:
            state *= tl.load(gate + 3 * CHUNK - 1)
            kept = (write * tl.load(gate + 3 * CHUNK + position)[:, None]).to(dtype)
        else:
            kept = written
        state = tl.dot(tl.trans(key), kept, acc=state, input_precision=PRECISION)
        offset = out + (start + position)[:, None] * (heads * VALUES) + column[None, :]
        stored = inside[:, None] & (column < VALUES)[None, :]
        tl.store(o + offset, read.to(dtype), mask=stored)
        if STORE:
            tl.store(writes + offset, written, mask=stored)
    tl.store(final + sequence * KEYS * VALUES + state_offset, state, mask=in_state)


class _DeltaRule(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, beta, log_decay, state, scale, store):  # type: ignore[override]
        ctx.set_materialize_grads(False)
        batch, length, heads, keys = q.shape
        values = v.shape[-1]
        chunks, sequences = triton.cdiv(length, CHUNK), batch * heads
        like = {"device": q.device, "dtype": q.dtype}
        single = {"device": q.device, "dtype": torch.float32}
        decay = log_decay is not None
        flags = {"CHUNK": CHUNK, "DECAY": decay, "PRECISION": "tf32x3" if q.dtype == torch.float32 else "tf32"}
        inverses = torch.empty(sequences, chunks, CHUNK, CHUNK, **like)
        attention = torch.empty_like(inverses)
        gates = torch.empty(sequences, chunks, 4 if decay else 1, CHUNK, **single)
        delta_rule_fwd_chunks_kernel[(sequences * chunks,)](
            q, k, beta, log_decay, inverses, attention, gates,
            *q.stride()[:3], *k.stride()[:3], *beta.stride(), *strides(log_decay, 3),
            scale, length, chunks, heads, KEYS=keys, BLOCK_KEYS=min(64, block(keys)), **flags,
        )  # fmt: skip
        o = torch.empty(batch, length, heads, values, **like)
        final = torch.empty(batch, heads, keys, values, **single)
        states = torch.empty(sequences, chunks, keys, values, **like) if store else None
        writes = torch.empty_like(o) if store else None
        delta_rule_fwd_walk_kernel[lambda meta: (sequences * triton.cdiv(values, meta["BLOCK_VALUES"]),)](
            q, k, v, inverses, attention, gates, state, o, final, states, writes,
            *q.stride()[:3], *k.stride()[:3], *v.stride()[:3], scale, length, chunks, heads,
            triton.next_power_of_2(sequences), KEYS=keys, VALUES=values, BLOCK_KEYS=block(keys),
            INITIAL=state is not None, STORE=store, **flags,
        )  # fmt: skip
        if store:
            ctx.save_for_backward(q, k, v, inverses, attention, gates, states, writes)
            ctx.scale = scale
            ctx.flags = flags
            ctx.gate_dtypes = beta.dtype, log_decay.dtype if decay else None
        return o, final

    @staticmethod
    @once_differentiable
    def backward(ctx, o, final):  # type: ignore[override]
        wanted = any(ctx.needs_input_grad[:5])
        found = gradients(ctx.saved_tensors, o, final, ctx.scale, ctx.flags, ctx.gate_dtypes, wanted)
        return *(x if needed else None for x, needed in zip(found, ctx.needs_input_grad, strict=False)), None, None


def delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor | None, state: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """Shapes as in `kernels.delta_rule.delta_rule`; log_decay None: no decay, state None: zero.

    Source: 2406.06484, section 3.2, and 2412.06464, section 3.3; the order of the computation is our own.
    """
    dtype = torch.promote_types(torch.promote_types(q.dtype, k.dtype), v.dtype)
    if dtype == torch.float16:  # a state can exceed its range
        dtype = torch.float32
    given = v.dtype
    q, k, v = (packed(x.to(dtype)) for x in (q, k, v))
    if state is not None:
        state = state.float().contiguous()
    inputs = (q, k, v, beta, log_decay, state)
    store = needs_gradient(*inputs)
    o, final = _DeltaRule.apply(*inputs, scale, store)
    return o.to(given), final


@tuned([(4, 1), (4, 1), (4, 1), (8, 1)], key=["KEYS", "VALUES", "crowd"], BLOCK_VALUES=[32, 64, 16, 64])
@triton.jit
def delta_rule_step_kernel(
    q, k, v, beta, log_decay, state, o, new_state,
    q_batch, q_head, k_batch, k_head, v_batch, v_head, beta_batch, beta_head, decay_batch, decay_head,
    scale, heads, crowd,
    KEYS: tl.constexpr, VALUES: tl.constexpr, BLOCK_KEYS: tl.constexpr, BLOCK_VALUES: tl.constexpr,
    DECAY: tl.constexpr, BY_KEY: tl.constexpr,
):  # fmt: skip
    """One token of one sequence and head, for some of the value columns."""
    blocks = tl.cdiv(VALUES, BLOCK_VALUES)
    sequence = (tl.program_id(0) // blocks).to(tl.int64)
    batch, head = sequence // heads, sequence % heads
    row = tl.arange(0, BLOCK_KEYS)
    column = (tl.program_id(0) % blocks) * BLOCK_VALUES + tl.arange(0, BLOCK_VALUES)
    in_state = (row < KEYS)[:, None] & (column < VALUES)[None, :]
    offset = sequence * KEYS * VALUES + row[:, None] * VALUES + column[None, :]
    memory = tl.load(state + offset, mask=in_state, other=0.0).to(tl.float32)
    query = tl.load(q + batch * q_batch + head * q_head + row, mask=row < KEYS, other=0.0).to(tl.float32)
    key = tl.load(k + batch * k_batch + head * k_head + row, mask=row < KEYS, other=0.0).to(tl.float32)
    value = tl.load(v + batch * v_batch + head * v_head + column, mask=column < VALUES, other=0.0).to(tl.float32)
    strength = tl.load(beta + batch * beta_batch + head * beta_head).to(tl.float32)
    if BY_KEY:
        decays = tl.load(log_decay + batch * decay_batch + head * decay_head + row, mask=row < KEYS, other=0.0)
        memory *= tl.exp(decays.to(tl.float32))[:, None]
    elif DECAY:
        memory *= tl.exp(tl.load(log_decay + batch * decay_batch + head * decay_head).to(tl.float32))
    held = tl.sum(key[:, None] * memory, 0)
    memory += key[:, None] * (strength * (value - held))[None, :]
    read = tl.sum(query[:, None] * memory, 0) * scale
    tl.store(new_state + offset, memory.to(new_state.dtype.element_ty), mask=in_state)
    tl.store(o + sequence * VALUES + column, read.to(o.dtype.element_ty), mask=column < VALUES)


def delta_rule_step(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor | None, state: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Shapes as in `kernels.delta_rule.delta_rule_step`. The given state is left as it is."""
    given = (q, k, v, beta, log_decay, state)
    if needs_gradient(*given):
        q, k, v, beta = (x[:, None] for x in (q, k, v, beta))
        log_decay = log_decay if log_decay is None else log_decay[:, None]
        o, new_state = IMPLEMENTATIONS["triton"](q, k, v, beta, log_decay, state, scale)
        return o[:, 0], new_state.to(state.dtype)
    batch, heads, keys = q.shape
    values = v.shape[-1]
    q, k, v = (packed(x) for x in (q, k, v))
    by_key = log_decay is not None and log_decay.dim() == 3
    log_decay = packed(log_decay) if log_decay is not None and by_key else log_decay
    state = state.contiguous()
    o = torch.empty(batch, heads, values, device=v.device, dtype=v.dtype)
    new_state = torch.empty_like(state)
    delta_rule_step_kernel[lambda meta: (batch * heads * triton.cdiv(values, meta["BLOCK_VALUES"]),)](
        q, k, v, beta, log_decay, state, o, new_state,
        *q.stride()[:2], *k.stride()[:2], *v.stride()[:2], *beta.stride(),
        *strides(log_decay, 2), scale, heads, triton.next_power_of_2(batch * heads),
        KEYS=keys, VALUES=values, BLOCK_KEYS=block(keys), DECAY=log_decay is not None, BY_KEY=by_key,
    )  # fmt: skip
    return o, new_state
