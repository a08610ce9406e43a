"""The gated recurrence on a GPU: h_t = a_t h_{t-1} + x_t, one pass over memory in each direction.

Shapes: B sequences, T tokens, D elements, S segments. x and log a are [B, T, D], the states [B, D].

A program owns a block of elements of one sequence and walks in time over tiles. Inside a tile the pairs (a, x) are
composed by a scan: (a, x) then (a', x') is (a a', a' x + x'), products of decays only, so nothing can overflow.
The gradient is the same recurrence from the end with the decays moved by one token,

    dx_t = dh_t + a_{t+1} dx_{t+1},    dlog a_t = a_t dx_t h_{t-1},

so the backward pass is the same walk with reversed addresses: its row r is token T - 1 - r.

Where there are too few programs to fill the chip, time is split in S segments: a pass before gives the value at the
end of each (from zero) and its total decay, from which every program of the main pass finds what it starts from.

Elements moved through memory for each of x: forward 3 (x, log a read; h written); backward 5 (dh, log a, h read;
dx, dlog a written). Segments add 2 to either, mostly from the second-level cache where a sequence is short.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.backend import needs_gradient
from kernels.tuning import block, packed, strides, tuned

WANTED = 132
"""Programs that fill the chip: the multiprocessors of an H100."""
SHORTEST = 256
"""Fewest tokens of a segment: shorter ones cost more in the pass before than they gain."""
STEP = 64
"""Segments begin at multiples of this: of every tile's length."""

CONFIGS = [(2, 3), (1, 3), (4, 3), (4, 2)]
TILES = {"BT": [32, 16, 64, 64], "STAGES": [3, 4, 3, 2]}


@triton.jit
def _then(decay, value, next_decay, next_value):
    return decay * next_decay, value * next_decay + next_value


@triton.jit
def _last(tile, BT: tl.constexpr):
    """The last row of a tile."""
    return tl.sum(tl.where(tl.arange(0, BT)[:, None] == BT - 1, tile, 0.0), 0)


@triton.jit
def _scanned(
    x, log_decay, x_row, decay_row, start, T, columns, inside,
    REVERSE: tl.constexpr, BT: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """A tile of rows from `start`: total decay up to each row, and value from zero; past the end nothing changes."""
    rows = start + tl.arange(0, BT)
    valid = (rows < T)[:, None] & inside[None, :]
    if REVERSE:
        tokens = (T - 1 - rows).to(tl.int64)[:, None]
        # Row 0 has no token after it: what enters from there is not decayed.
        decayed = valid & (rows > 0)[:, None]
        decay = tl.load(log_decay + (tokens + 1) * decay_row + columns[None, :], decayed, other=0.0)
    else:
        tokens = rows.to(tl.int64)[:, None]
        decay = tl.load(log_decay + tokens * decay_row + columns[None, :], valid, other=0.0)
    if x is None:
        value = tl.zeros([BT, BD], tl.float32)
    else:
        value = tl.load(x + tokens * x_row + columns[None, :], valid, other=0.0).to(tl.float32)
    factor, value = tl.associative_scan((tl.exp(decay.to(tl.float32)), value), 0, _then)
    return factor, value, tokens, valid


@triton.jit
def _entering(initial, ends, factors, batch, segment, segments, columns, inside, D, BD: tl.constexpr):
    """What a segment starts from: the chain over those before it."""
    carry = tl.zeros([BD], tl.float32)
    if initial is not None:
        carry += tl.load(initial + batch * D + columns, inside, other=0.0).to(tl.float32)
    if ends is not None:
        for earlier in range(0, segment):
            place = (batch * (segments - 1) + earlier) * D + columns
            factor = tl.load(factors + place, inside, other=0.0)
            carry = carry * factor + tl.load(ends + place, inside, other=0.0)
    return carry


@tuned(CONFIGS, key=["D", "REVERSE"], **TILES)
@triton.jit(repr=lambda found: f"gated_scan_{'bwd' if found.constants['REVERSE'] else 'fwd'}_segments_kernel")
def gated_scan_segments_kernel(
    x, log_decay, ends, factors, x_batch, x_row, decay_batch, decay_row, T, LENGTH, D,
    REVERSE: tl.constexpr, BD: tl.constexpr, BT: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Of each segment but the last: its end value from zero, and its total decay [B, S - 1, D]."""
    segment, batch = tl.program_id(1), tl.program_id(2).to(tl.int64)
    columns = tl.program_id(0) * BD + tl.arange(0, BD)
    inside = columns < D
    carry = tl.zeros([BD], tl.float32)
    total = tl.full([BD], 1.0, tl.float32)
    if x is not None:
        x += batch * x_batch
    log_decay += batch * decay_batch
    for start in tl.range(segment * LENGTH, (segment + 1) * LENGTH, BT, num_stages=STAGES):
        factor, value, _, _ = _scanned(x, log_decay, x_row, decay_row, start, T, columns, inside, REVERSE, BT, BD)
        last = _last(factor, BT)
        carry = carry * last + _last(value, BT)
        total *= last
    place = (batch * tl.num_programs(1) + segment) * D + columns
    tl.store(ends + place, carry, inside)
    tl.store(factors + place, total, inside)


@tuned(CONFIGS, key=["D"], **TILES)
@triton.jit
def gated_scan_fwd_kernel(
    x, log_decay, initial, ends, factors, h, final, x_batch, x_row, decay_batch, decay_row, T, LENGTH, D,
    BD: tl.constexpr, BT: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Grid (blocks of D, segments, B): h of one segment; the last segment leaves the final state."""
    segment, batch = tl.program_id(1), tl.program_id(2).to(tl.int64)
    columns = tl.program_id(0) * BD + tl.arange(0, BD)
    inside = columns < D
    segments = tl.num_programs(1)
    carry = _entering(initial, ends, factors, batch, segment, segments, columns, inside, D, BD)
    x += batch * x_batch
    log_decay += batch * decay_batch
    h += batch * T * D
    for start in tl.range(segment * LENGTH, tl.minimum((segment + 1) * LENGTH, T), BT, num_stages=STAGES):
        factor, value, tokens, valid = _scanned(
            x, log_decay, x_row, decay_row, start, T, columns, inside, False, BT, BD
        )
        value += factor * carry[None, :]
        tl.store(h + tokens * D + columns[None, :], value.to(h.dtype.element_ty), valid)
        carry = _last(value, BT)
    if segment == segments - 1:
        tl.store(final + batch * D + columns, carry, inside)


@tuned(CONFIGS, key=["D"], **TILES)
@triton.jit
def gated_scan_bwd_kernel(
    dh, log_decay, h, initial, dfinal, ends, factors, dx, dlog_decay, dinitial,
    dh_batch, dh_row, decay_batch, decay_row, T, LENGTH, D,
    BD: tl.constexpr, BT: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Segments count from the end; the last of them finds the gradient of the initial state."""
    segment, batch = tl.program_id(1), tl.program_id(2).to(tl.int64)
    columns = tl.program_id(0) * BD + tl.arange(0, BD)
    inside = columns < D
    segments = tl.num_programs(1)
    carry = _entering(dfinal, ends, factors, batch, segment, segments, columns, inside, D, BD)
    if dh is not None:
        dh += batch * dh_batch
    log_decay += batch * decay_batch
    if dlog_decay is not None:
        start_state = tl.zeros([BD], tl.float32)
        if initial is not None:
            start_state += tl.load(initial + batch * D + columns, inside, other=0.0).to(tl.float32)
    for start in tl.range(segment * LENGTH, tl.minimum((segment + 1) * LENGTH, T), BT, num_stages=STAGES):
        factor, into_x, tokens, valid = _scanned(
            dh, log_decay, dh_row, decay_row, start, T, columns, inside, True, BT, BD
        )
        into_x += factor * carry[None, :]
        carry = _last(into_x, BT)
        place = (batch * T + tokens) * D + columns[None, :]
        if dx is not None:
            tl.store(dx + place, into_x.to(dx.dtype.element_ty), valid)
        if dlog_decay is not None:
            decay = tl.load(log_decay + tokens * decay_row + columns[None, :], valid, other=0.0).to(tl.float32)
            before = tl.load(h + place - D, valid & (tokens > 0), other=0.0).to(tl.float32)
            before = tl.where(tokens > 0, before, start_state[None, :])
            into_decay = tl.exp(decay) * into_x * before
            tl.store(dlog_decay + place, into_decay.to(dlog_decay.dtype.element_ty), valid)
    if dinitial is not None:
        here = inside & (segment + 0 * columns == segments - 1)  # triton 3.9 takes no scalar in a mask
        decay = tl.load(log_decay + columns, here, other=0.0).to(tl.float32)
        tl.store(dinitial + batch * D + columns, tl.exp(decay) * carry, here)


@triton.jit
def gated_scan_step_kernel(x, log_decay, state, h, new_state, x_row, decay_row, D, BD: tl.constexpr):
    """Grid (blocks of D, B): one token."""
    batch = tl.program_id(1).to(tl.int64)
    columns = tl.program_id(0) * BD + tl.arange(0, BD)
    inside = columns < D
    decay = tl.load(log_decay + batch * decay_row + columns, inside, other=0.0).to(tl.float32)
    value = tl.load(x + batch * x_row + columns, inside, other=0.0).to(tl.float32)
    value += tl.exp(decay) * tl.load(state + batch * D + columns, inside, other=0.0).to(tl.float32)
    tl.store(h + batch * D + columns, value.to(h.dtype.element_ty), inside)
    tl.store(new_state + batch * D + columns, value, inside)


def _plan(batch: int, length: int, size: int) -> tuple[int, int, int]:
    """Elements of a program, number of segments, and tokens of each."""
    columns = min(64, block(size))
    if batch * triton.cdiv(size, columns) < 2 * WANTED:
        columns = min(32, columns)
    programs = batch * triton.cdiv(size, columns)
    segments = 1 if programs >= WANTED else triton.cdiv(2 * WANTED, programs)
    segments = max(1, min(segments, length // SHORTEST))
    tokens = triton.cdiv(triton.cdiv(length, segments), STEP) * STEP
    return columns, triton.cdiv(length, tokens), tokens


def _ends(x: Tensor | None, log_decay: Tensor, plan: tuple[int, int, int], reverse: bool) -> tuple[Any, Any]:
    """End values and total decays [B, S - 1, D] of all segments but the last; None where there is one only."""
    batch, length, size = log_decay.shape
    columns, segments, tokens = plan
    if segments == 1:
        return None, None
    ends, factors = (log_decay.new_empty(batch, segments - 1, size, dtype=torch.float32) for _ in range(2))
    gated_scan_segments_kernel[(triton.cdiv(size, columns), segments - 1, batch)](
        x, log_decay, ends, factors, *strides(x, 2), *strides(log_decay, 2), length, tokens, size,
        REVERSE=reverse, BD=columns,
    )  # fmt: skip
    return ends, factors


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, log_decay: Tensor, initial: Tensor | None) -> tuple[Tensor, Tensor]:
        x, log_decay = packed(x), packed(log_decay)
        initial = None if initial is None else initial.contiguous()
        batch, length, size = x.shape
        columns, segments, tokens = plan = _plan(batch, length, size)
        ends, factors = _ends(x, log_decay, plan, reverse=False)
        h = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        final = torch.empty(batch, size, dtype=torch.float32, device=x.device)
        gated_scan_fwd_kernel[(triton.cdiv(size, columns), segments, batch)](
            x, log_decay, initial, ends, factors, h, final, *strides(x, 2), *strides(log_decay, 2),
            length, tokens, size, BD=columns,
        )  # fmt: skip
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(log_decay, h, initial)
        return h, final

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        log_decay, h, initial = ctx.saved_tensors
        dh, dfinal = gradients
        if dh is None and dfinal is None:
            return None, None, None
        dh = None if dh is None else packed(dh)
        dfinal = None if dfinal is None else dfinal.contiguous()
        batch, length, size = h.shape
        columns, segments, tokens = plan = _plan(batch, length, size)
        ends, factors = _ends(dh, log_decay, plan, reverse=True)

        def wanted(place: int, shape: Any, dtype: torch.dtype) -> Tensor | None:
            return torch.empty(shape, dtype=dtype, device=h.device) if ctx.needs_input_grad[place] else None

        dx, dlog_decay = wanted(0, h.shape, h.dtype), wanted(1, h.shape, log_decay.dtype)
        dinitial = wanted(2, (batch, size), torch.float32)
        gated_scan_bwd_kernel[(triton.cdiv(size, columns), segments, batch)](
            dh, log_decay, h, initial, dfinal, ends, factors, dx, dlog_decay, dinitial,
            *strides(dh, 2), *strides(log_decay, 2), length, tokens, size, BD=columns,
        )  # fmt: skip
        return dx, dlog_decay, None if dinitial is None else dinitial.to(initial.dtype)


def gated_scan(x: Tensor, log_decay: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """x, log_decay [B, T, D], state [B, D] or None -> h [B, T, D] in the dtype of x, and h_T [B, D] in float32."""
    return _Scan.apply(x, log_decay, state)


def gated_scan_step(x: Tensor, log_decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """A single token: x, log_decay, state [B, D] -> h [B, D] in the dtype of x, and the state in float32."""
    if needs_gradient(x, log_decay, state):
        h, state = _Scan.apply(x[:, None], log_decay[:, None], state)
        return h[:, 0], state
    x, log_decay, state = packed(x), packed(log_decay), state.contiguous()
    batch, size = x.shape
    h = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    new_state = torch.empty(x.shape, dtype=torch.float32, device=x.device)
    columns = min(1024, block(size))
    gated_scan_step_kernel[(triton.cdiv(size, columns), batch)](
        x, log_decay, state, h, new_state, x.stride(0), log_decay.stride(0), size, BD=columns
    )
    return h, new_state
