"""The delta rule in Triton: whole sequences in chunks of C = 64 tokens, and a single token.

With g the running sum of log decays in a chunk (its own token included), G_ij = e^{g_i - g_j} for j <= i,
E = diag(e^g), L = diag(e^{g_C - g}), B = diag(b) and S the state before the chunk, what its tokens write is W [C, V]:

    (I + A) W = B (V - E K S),           A = strictly lower part of B (K K^T * G)
    O = scale E Q S + P W,               P = lower part of scale (Q K^T * G)
    S' = e^{g_C} S + K^T L W

With decays by key, E K, E Q and L K decay each element of a key by its own g, e^{g_C} each row of S, and G stays inside
of the products Q K^T and K K^T (triton_decays.py). The rest is the same. With one decay, E and L act on products; by
key they act on q and k, once for all blocks of value columns, and what comes out is kept for the gradients.

With one decay, g is float64, so that g_i - g_j is exact however strong the decays before both are. No log decay is
below FLOOR. X = (I + A)^-1 comes from substitution, never from powers of A, so repeated keys are exact too.

Shapes: B sequences, T tokens, H heads, N chunks of C tokens, K key size, V value size. Bytes a token and head in
bfloat16, where f is the number of blocks into which V is split (a block but the first reads from L2, as a rule):

    delta_rule_fwd_chunks_kernel  parallel over chunks      reads q, k: 4K
                                                            writes X, P, gates: 4C + 16
                                                            by key, reads log decays too: 4K
                                                            writes E Q, E K, L K, e^{g_C}: 6K + 4K/C
    delta_rule_fwd_walk_kernel    sequential over chunks    reads q, k, v, X, P: 2V + f (4K + 4C + 12)
                                                            by key, E Q, E K, L K for q, k: 2V + f (6K + 4C + 4)
                                                            writes o: 2V, and for gradients W: 2V, S: 2KV/C
    delta_rule_step_kernel        one token                 reads and writes the state: 8KV

The state is float32 in registers from the first chunk to the last; operands of products have the dtype of the inputs.
Products of float32 are made of three in TF32: plain ones would have no tensor cores and take minutes to compile.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.backend import needs_gradient
from kernels.delta_rule import IMPLEMENTATIONS
from kernels.delta_rule.triton_backward import delta_rule_bwd_chunks_kernel, delta_rule_bwd_walk_kernel
from kernels.delta_rule.triton_decays import BY_KEY, CHUNK, NONE, SCALAR
from kernels.delta_rule.triton_forward import delta_rule_fwd_chunks_kernel, delta_rule_fwd_walk_kernel
from kernels.tuning import block, packed, strides, tuned


class _DeltaRule(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, beta, log_decay, state, scale, store):  # type: ignore[override]
        ctx.set_materialize_grads(False)
        batch, length, heads, keys = q.shape
        values = v.shape[-1]
        chunks, sequences = triton.cdiv(length, CHUNK), batch * heads
        like = {"device": q.device, "dtype": q.dtype}
        single = {"device": q.device, "dtype": torch.float32}
        decay = NONE if log_decay is None else SCALAR if log_decay.dim() == 3 else BY_KEY
        width = {NONE: CHUNK, SCALAR: 4 * CHUNK, BY_KEY: CHUNK + keys}[decay]
        flags = {
            "CHUNK": CHUNK, "GATES": width, "DECAY": decay,
            "PRECISION": "tf32x3" if q.dtype == torch.float32 else "tf32",
        }  # fmt: skip
        inverses = torch.empty(sequences, chunks, CHUNK, CHUNK, **like)
        attention = torch.empty_like(inverses)
        gates = torch.empty(sequences, chunks, width, **single)
        decayed = torch.empty(3, *q.shape, **like).unbind() if decay == BY_KEY else (None,) * 3  # E Q, E K and L K
        delta_rule_fwd_chunks_kernel[(sequences * chunks,)](
            q, k, beta, log_decay, inverses, attention, gates, *decayed,
            *q.stride()[:3], *k.stride()[:3], *beta.stride(), *strides(log_decay, 3),
            scale, length, chunks, heads, KEYS=keys, BLOCK_KEYS=min(64, block(keys)), **flags,
        )  # fmt: skip
        walked: Any = decayed if decay == BY_KEY else (q, k, None)
        o = torch.empty(batch, length, heads, values, **like)
        final = torch.empty(batch, heads, keys, values, **single)
        states = torch.empty(sequences, chunks, keys, values, **like) if store else None
        writes = torch.empty_like(o) if store else None
        delta_rule_fwd_walk_kernel[lambda meta: (sequences * triton.cdiv(values, meta["BLOCK_VALUES"]),)](
            *walked, v, inverses, attention, gates, state, o, final, states, writes,
            *walked[0].stride()[:3], *walked[1].stride()[:3], *v.stride()[:3], scale, length, chunks, heads,
            triton.next_power_of_2(sequences), KEYS=keys, VALUES=values, BLOCK_KEYS=block(keys),
            INITIAL=state is not None, STORE=store, **flags,
        )  # fmt: skip
        if store:
            kept = log_decay if decay == BY_KEY else None
            ctx.save_for_backward(q, k, v, kept, *walked, inverses, attention, gates, states, writes)
            ctx.scale = scale
            ctx.flags = flags
            ctx.gates = [None if x is None else (x.shape, x.dtype) for x in (beta, log_decay)]
        return o, final

    @staticmethod
    @once_differentiable
    def backward(ctx, d_o, d_final):  # type: ignore[override]
        if d_o is None and d_final is None:
            return (None,) * 8
        q, k, v, log_decay, *walked, inverses, attention, gates, states, writes = ctx.saved_tensors
        batch, length, heads, keys = q.shape
        values = v.shape[-1]
        sequences, chunks = states.shape[:2]
        d_o = torch.zeros_like(writes) if d_o is None else packed(d_o)
        d_final = d_final if d_final is None else d_final.contiguous()
        d_states, d_wanted = torch.empty_like(states), torch.empty_like(writes)
        d_initial = torch.empty(batch, heads, keys, values, device=q.device, dtype=torch.float32)
        delta_rule_bwd_walk_kernel[lambda meta: (sequences * triton.cdiv(values, meta["BLOCK_VALUES"]),)](
            *walked, d_o, inverses, attention, gates, d_final, d_states, d_wanted, d_initial,
            *walked[0].stride()[:3], *walked[1].stride()[:3], *d_o.stride()[:3],
            ctx.scale, length, chunks, heads, triton.next_power_of_2(sequences),
            KEYS=keys, VALUES=values, BLOCK_KEYS=block(keys), FINAL=d_final is not None, **ctx.flags,
        )  # fmt: skip
        found: list[Tensor | None] = [None] * 5
        if any(ctx.needs_input_grad[:5]):
            shapes = [*((x.shape, x.dtype) for x in (q, k, v)), *ctx.gates]
            found = [each and torch.empty(each[0], device=q.device, dtype=each[1]) for each in shapes]
            delta_rule_bwd_chunks_kernel[(sequences * chunks,)](
                q, k, v, log_decay, d_o, attention, gates, states, writes, d_states, d_wanted, *found,
                *q.stride()[:3], *k.stride()[:3], *v.stride()[:3], *strides(log_decay, 3), *d_o.stride()[:3],
                ctx.scale, length, chunks, heads,
                KEYS=keys, VALUES=values, BLOCK_VALUES=min(64, block(values)), **ctx.flags,
            )  # fmt: skip
        wanted = zip((*found, d_initial), ctx.needs_input_grad, strict=False)
        return *(x if needed else None for x, needed in wanted), None, None


def delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor | None, state: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """Shapes as in `kernels.delta_rule.delta_rule`; log_decay None: no decay, state None: zero.

    Source: 2406.06484, section 3.2, 2412.06464, section 3.3, and by key 2510.26692, section 3; the order of the
    computation is our own.
    """
    dtype = torch.promote_types(torch.promote_types(q.dtype, k.dtype), v.dtype)
    if dtype == torch.float16:  # a state can exceed its range
        dtype = torch.float32
    given = v.dtype
    q, k, v = (packed(x.to(dtype)) for x in (q, k, v))
    if log_decay is not None and log_decay.dim() == 4:
        log_decay = packed(log_decay)
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
