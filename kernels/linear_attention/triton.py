"""Linear attention with decay on a GPU: one kernel that walks over chunks of tokens, in four roles.

Shapes: B sequences, T tokens, H heads, K key size, V value size; A size of the dot products, D size of an output.

With g_t the sum of log decays up to token t, every role has the form

    out_i = sum_{j <= i} (x_i . y_j) e^{g_i - g_j} z_j + e^{g_i} x_i M_0,   M = sum_j e^{g_T - g_j} y_j z_j^T [A, D],

where a decay by key lies on A ("inner") or on D ("outer"):

    role   | gives | x  | y  | z  | A | D | order of tokens | M_0 and M
    fwd    | o     | q  | k  | v  | K | V | forward         | S_0, S_T
    bwd_dv | dv    | k  | q  | do | K | V | reverse         | dS_T, dS_0 before the decay of token 0
    bwd_dq | dq    | do | v  | k  | V | K | forward         | S_0 transposed, unused
    bwd_dk | dk    | v  | do | q  | V | K | reverse         | dS_T transposed, unused

In reverse, what decays on the way from token t + 1 to token t is a_{t+1}. The gradient of log a_t is the sum over
s >= t of q_s dq_s - k_s dk_s (2312.06635, appendix C), from which what a token gives to itself is left out, since it
does not decay, plus <S_e, dS_e> at the end e of the sum; that end is the next multiple of ANCHOR tokens, so that
rounding errors do not add up over whole sequences.

A program keeps M [A, BLOCK_D] in registers and goes through all tokens (or a segment of them, if there are too few
programs for a GPU: then a first walk finds the state at each segment's begin). So a role reads x, y, z and the decay
once and writes its output: nothing else goes through memory, but for the gradient of the decay, for which dq leaves
q dq and the states at every ANCHOR-th token to dk.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.backend import needs_gradient
from kernels.chunks import STRONGEST
from kernels.tuning import block, packed, strides, tuned

ANCHOR = tl.constexpr(512)
"""Tokens, a multiple of every chunk."""
SPAN = tl.constexpr(140.0)
"""Log decays are summed over at most this much at once: half of it, as an exponent, is far from overflow."""
FLOOR = tl.constexpr(STRONGEST)
"""Log decays are no less: a row by itself cannot span more than SPAN."""
PROGRAMS = 128
"""Fewer programs than this, and the sequences are cut into segments."""
NONE, SCALAR, INNER, OUTER = (tl.constexpr(i) for i in range(4))


@triton.jit
def _rows(pointer, token, order, inside, stride, SIZE: tl.constexpr, BLOCK: tl.constexpr, first=0):
    """Rows `token` + order [C] of a matrix, BLOCK columns from `first` on; zero outside."""
    columns = first + tl.arange(0, BLOCK)
    # One large address and small offsets: offsets of 64 bits would take twice the registers.
    places = pointer + token.to(tl.int64) * stride + (order[:, None] * stride + columns[None, :])
    return tl.load(places, mask=inside[:, None] & (columns < SIZE)[None, :], other=0.0)


@triton.jit
def _floored(log_decay):
    log_decay = log_decay.to(tl.float32)
    return tl.where(log_decay < FLOOR, FLOOR, log_decay)  # tl.maximum would hide NaN


@triton.jit
def _tile(
    x, y, z, g, last, g_low, last_low, state, read, write,
    DECAY: tl.constexpr, REVERSE: tl.constexpr, READ: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """A chunk: outputs [C, D] from all but the tokens themselves, x_i . y_i [C], and the state after it.

    g: sums of log decays up to each row; last: those of the whole chunk. If the decay is by key, none of them is below
    -SPAN; if it is a scalar, g_low and last_low are what rounding took from g and last.
    """
    TYPE: tl.constexpr = y.dtype
    SIZE: tl.constexpr = y.shape[0]
    if DECAY == INNER:
        half = tl.exp(last / 2)[:, None]
        state *= half
        y = (y * (tl.exp(last / 2 - g) * write)).to(TYPE)
        scale, own_scale = read, 1.0
    elif DECAY == OUTER:
        half = tl.exp(last / 2)[None, :]
        state *= half
        z = (z * (tl.exp(last / 2 - g) * write)).to(TYPE)
        scale, own_scale = read, write
    elif DECAY == SCALAR:
        scale, own_scale = read * write, 1.0
    else:
        scale, own_scale = read, write
        if REVERSE:
            z = (z * write).to(TYPE)
    out = tl.zeros([SIZE, z.shape[1]], tl.float32)
    own = tl.zeros([SIZE], tl.float32)
    if READ:
        rows = tl.arange(0, SIZE)
        if DECAY == INNER:
            x = (x * tl.exp(g - last / 2)).to(TYPE)
        scores = tl.dot(x, tl.trans(y), input_precision=PRECISION) * scale
        if DECAY == SCALAR:
            between = (g[:, None] - g[None, :]) + (g_low[:, None] - g_low[None, :])
            scores *= tl.exp(tl.minimum(between, 0.0))
        own = tl.sum(tl.where(rows[:, None] == rows[None, :], scores, 0.0), 1) * own_scale
        scores = tl.where(rows[:, None] > rows[None, :], scores, 0.0).to(TYPE)
        out = tl.dot(x, state.to(TYPE), input_precision=PRECISION) * read
        if DECAY == SCALAR:
            out *= tl.exp(g)[:, None]
        out = tl.dot(scores, z, out, input_precision=PRECISION)
        if DECAY == OUTER:
            out *= tl.exp(g - last / 2)
    if DECAY == SCALAR:
        z = (z * (write * tl.exp((last - g) + (last_low - g_low)))[:, None]).to(TYPE)
        state *= tl.exp(last)
    state = tl.dot(tl.trans(y), z, state, input_precision=PRECISION)
    if DECAY == INNER or DECAY == OUTER:
        state *= half
    return out, own, state


def _name(found: Any) -> str:
    """What a GPU trace shows: the role; "states" where a walk only finds the states that segments begin with."""
    return f"linear_attention_{found.constants['ROLE']}_{'' if found.constants['READ'] else 'states_'}kernel"


@triton.jit(repr=_name)
def linear_attention_kernel(
    x, y, z, weight, decay, out, start, end, total, products, anchors, into_decay, failed,
    scale, length, heads, segments, per_segment,
    x_batch, x_token, x_head, y_batch, y_token, y_head, z_batch, z_token, z_head,
    weight_batch, weight_token, weight_head, decay_batch, decay_token, decay_head,
    A: tl.constexpr, D: tl.constexpr, BLOCK_A: tl.constexpr, BLOCK_D: tl.constexpr, SIZE: tl.constexpr,
    DECAY: tl.constexpr, REVERSE: tl.constexpr, READ: tl.constexpr, TRANSPOSED: tl.constexpr,
    CAREFUL: tl.constexpr, TYPE: tl.constexpr, PRECISION: tl.constexpr, ROLE: tl.constexpr,
):  # fmt: skip
    """Grid (blocks of D, B x H x segments). Tensors [B, T, H, A or D]; None: not wanted.

    start [B, H, A, D] (TRANSPOSED: [B, H, D, A]), or [B, H, segments, A, D] if there are several. end [B, H, A, D] if
    READ, else [B, H, segments, A, D]. total [B, H, segments, A, D or 1]: sums of log decays. products and into_decay:
    [B, T, H, D] if the decay is by key, else sums [blocks of D, B, T, H]. anchors [B, H, T / ANCHOR, A, D]. failed, by
    program: whether a decay by key was too strong for whole chunks, so that CAREFUL has to do it again. ROLE names the
    kernel in a GPU trace.
    """
    part, which = tl.program_id(0), tl.program_id(1)
    segment, sequence = which % segments, which // segments
    if DECAY == INNER or DECAY == OUTER:
        failed += which * tl.num_programs(0) + part
    if CAREFUL:
        if tl.load(failed) == 0:
            return
    batch, head = (sequence // heads).to(tl.int64), (sequence % heads).to(tl.int64)
    x += batch * x_batch + head * x_head
    y += batch * y_batch + head * y_head
    z += batch * z_batch + head * z_head
    if DECAY != NONE:
        decay += batch * decay_batch + head * decay_head
    read = 1.0 if REVERSE else scale
    write = scale if REVERSE else 1.0

    first = part * BLOCK_D
    rows = tl.arange(0, SIZE)
    order = SIZE - 1 - rows if REVERSE else rows
    inner, columns = tl.arange(0, BLOCK_A), first + tl.arange(0, BLOCK_D)
    begin = segment * per_segment // SIZE
    stop = tl.cdiv(tl.minimum((segment + 1) * per_segment, length), SIZE)
    whole = (inner < A)[:, None] & (columns < D)[None, :]
    state = tl.zeros([BLOCK_A, BLOCK_D], tl.float32)
    if start is not None:
        from_start = inner[:, None] + columns[None, :] * A if TRANSPOSED else inner[:, None] * D + columns[None, :]
        state += tl.load(start + which.to(tl.int64) * A * D + from_start, mask=whole, other=0.0).to(tl.float32)
    if DECAY == INNER:
        summed = tl.zeros([BLOCK_A], tl.float32)
    else:
        summed = tl.zeros([BLOCK_D], tl.float32)
    strongest = tl.zeros_like(summed)
    later = tl.zeros([BLOCK_D], tl.float32)  # the gradient of the log decay just after this chunk
    if anchors is not None:
        anchors += sequence.to(tl.int64) * tl.cdiv(length, ANCHOR) * A * D

    for n in range(begin, stop):
        chunk = begin + stop - 1 - n if REVERSE else n
        token = chunk * SIZE
        inside = order < length - token
        at_anchor = ((token + SIZE) % ANCHOR == 0) | (token + SIZE >= length)
        if into_decay is not None:
            if at_anchor:
                last_token = token + SIZE
                place = anchors + (token // ANCHOR) * A * D
                kept = tl.load(place + inner[:, None] * D + columns[None, :], mask=whole, other=0.0)
                later = tl.sum(kept * state, 0)
                if DECAY == OUTER:
                    here = (columns < D) & (last_token + 0 * columns < length)  # 3.9 takes no scalar in a mask
                    later *= tl.exp(
                        tl.load(decay + last_token.to(tl.int64) * decay_token + columns, here, 0.0).to(tl.float32)
                    )
                elif last_token < length:
                    later *= tl.exp(tl.load(decay + last_token.to(tl.int64) * decay_token).to(tl.float32))
        ys = _rows(y, token, order, inside, y_token, A, BLOCK_A).to(TYPE)
        zs = _rows(z, token, order, inside, z_token, D, BLOCK_D, first).to(TYPE)
        xs = ys
        if READ:
            xs = _rows(x, token, order, inside, x_token, A, BLOCK_A).to(TYPE)
        faded = token + 1 if REVERSE else token
        fading = order < length - faded
        if DECAY == INNER or DECAY == OUTER:
            if DECAY == INNER:
                log_decay = _rows(decay, faded, order, fading, decay_token, A, BLOCK_A)
            else:
                log_decay = _rows(decay, faded, order, fading, decay_token, D, BLOCK_D, first)
            log_decay = _floored(log_decay)
            last = tl.sum(log_decay, 0)
            summed += last
            if CAREFUL:
                outs, own = tl.zeros([SIZE, BLOCK_D], tl.float32), tl.zeros([SIZE], tl.float32)
                done = tl.full((), 0, tl.int32)
                while done < SIZE:
                    g = tl.cumsum(tl.where(rows[:, None] >= done, log_decay, 0.0), 0)
                    fitting = tl.sum(((rows >= done) & (tl.min(g, 1) >= -SPAN)).to(tl.int32), 0)
                    upto = done + tl.maximum(fitting, 1)
                    active = ((rows >= done) & (rows < upto))[:, None]
                    g = tl.where(active, g, 0.0)
                    some, alone, state = _tile(
                        tl.where(active, xs, 0.0), tl.where(active, ys, 0.0), zs, g, tl.min(g, 0), 0.0, 0.0, state,
                        read, write, DECAY, REVERSE, READ, PRECISION,
                    )  # fmt: skip
                    outs += some
                    own += alone
                    done = upto
            else:
                strongest = tl.minimum(strongest, last)
                g = tl.cumsum(log_decay, 0)
                outs, own, state = _tile(
                    xs, ys, zs, g, last, 0.0, 0.0, state, read, write, DECAY, REVERSE, READ, PRECISION
                )
        elif DECAY == SCALAR:
            log_decay = tl.load(decay + faded.to(tl.int64) * decay_token + order * decay_token, mask=fading, other=0.0)
            # In two floats: a small difference of large sums would be lost in one.
            exact = tl.cumsum(_floored(log_decay).to(tl.float64), 0)
            g, exact_last = exact.to(tl.float32), tl.min(exact, 0)
            last = exact_last.to(tl.float32)
            summed += last
            outs, own, state = _tile(
                xs, ys, zs, g, last, (exact - g).to(tl.float32), (exact_last - last).to(tl.float32), state,
                read, write, DECAY, REVERSE, READ, PRECISION,
            )  # fmt: skip
        else:
            outs, own, state = _tile(
                xs, ys, zs, 0.0, 0.0, 0.0, 0.0, state, read, write, DECAY, REVERSE, READ, PRECISION
            )

        if READ:
            base = (batch * length + token) * heads + head
            places = order[:, None] * (heads * D) + columns[None, :]
            covered = inside[:, None] & (columns < D)[None, :]
            tl.store(out + base * D + places, (outs + own[:, None] * zs).to(out.dtype.element_ty), mask=covered)
            if products is not None:
                weights = _rows(
                    weight + batch * weight_batch + head * weight_head, token, order, inside, weight_token,
                    D, BLOCK_D, first,
                )  # fmt: skip
                product = weights * outs
                if DECAY == OUTER:
                    where = base * D + places
                    if REVERSE:
                        change = tl.load(products + where, mask=covered, other=0.0) - product
                        gradient = later[None, :] + tl.cumsum(change, 0)
                        tl.store(into_decay + where, gradient.to(into_decay.dtype.element_ty), mask=covered)
                        later += tl.sum(change, 0)
                    else:
                        tl.store(products + where, product, mask=covered)
                else:
                    where = base + part.to(tl.int64) * (tl.num_programs(1) // segments) * length + order * heads
                    if REVERSE:
                        change = tl.load(products + where, mask=inside, other=0.0) - tl.sum(product, 1)
                        gradient = tl.sum(later, 0) + tl.cumsum(change, 0)
                        tl.store(into_decay + where, gradient, mask=inside)
                        later += tl.sum(change, 0) / BLOCK_D
                    else:
                        tl.store(products + where, tl.sum(product, 1), mask=inside)
                if not REVERSE:
                    if at_anchor:
                        place = anchors + (token // ANCHOR) * A * D + inner[:, None] * D + columns[None, :]
                        tl.store(place, state.to(anchors.dtype.element_ty), mask=whole)

    if end is not None:
        if (not READ) | (segment == (0 if REVERSE else segments - 1)):
            place = end + (sequence if READ else which).to(tl.int64) * A * D
            tl.store(place + inner[:, None] * D + columns[None, :], state, mask=whole)
    if (DECAY == INNER or DECAY == OUTER) and not CAREFUL:
        tl.store(failed, tl.min(strongest, 0) < -SPAN)
    if total is not None:
        if DECAY == INNER:
            tl.store(total + which.to(tl.int64) * A + inner, summed, mask=(inner < A) & (part + 0 * inner == 0))
        elif DECAY == OUTER:
            tl.store(total + which.to(tl.int64) * D + columns, summed, mask=columns < D)
        else:
            tl.store(total + which + tl.zeros_like(columns), summed, mask=columns == 0)


KEY = ["A", "D", "DECAY", "REVERSE", "READ"]
_fast = tuned([(8, 2), (8, 1), (8, 2), (4, 2)], KEY, SIZE=(64, 64, 32, 32))(linear_attention_kernel)
_careful = tuned([(8, 1)], KEY, SIZE=(32,))(linear_attention_kernel)


@triton.jit(repr=lambda found: f"linear_attention_{found.constants['ROLE']}_join_kernel")
def linear_attention_join_kernel(
    states, total, start, segments, A: tl.constexpr, D: tl.constexpr, DECAY: tl.constexpr, REVERSE: tl.constexpr,
    TRANSPOSED: tl.constexpr, BLOCK: tl.constexpr, ROLE: tl.constexpr,
):  # fmt: skip
    """Replaces the states [B, H, segments, A, D] that segments end with by those that they begin with."""
    sequence = tl.program_id(1).to(tl.int64)
    places = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row, column, inside = places // D, places % D, places < A * D
    state = tl.zeros([BLOCK], tl.float32)
    if start is not None:
        at = column * A + row if TRANSPOSED else places
        state += tl.load(start + sequence * A * D + at, mask=inside, other=0.0).to(tl.float32)
    for n in range(segments):
        which = sequence * segments + (segments - 1 - n if REVERSE else n)
        ending = tl.load(states + which * A * D + places, mask=inside, other=0.0)
        tl.store(states + which * A * D + places, state, mask=inside)
        if DECAY == INNER:
            state *= tl.exp(tl.load(total + which * A + row, mask=inside, other=0.0))
        elif DECAY == OUTER:
            state *= tl.exp(tl.load(total + which * D + column, mask=inside, other=0.0))
        elif DECAY == SCALAR:
            state *= tl.exp(tl.load(total + which))
        state += ending


def _run(
    role: str, x: Tensor, y: Tensor, z: Tensor, log_decay: Tensor | None, scale: float, *, dtype: torch.dtype,
    start: Tensor | None = None, end: Tensor | None = None, weight: Tensor | None = None,
    products: Tensor | None = None, anchors: Tensor | None = None, into_decay: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """One role: out [B, T, H, D] in `dtype`; start [B, H, A, D], of dq and dk [B, H, D, A]; end [B, H, A, D]."""
    outer, reverse = role in ("bwd_dq", "bwd_dk"), role in ("bwd_dv", "bwd_dk")
    (batch, length, heads, inner), size = x.shape, z.shape[-1]
    decay_kind = NONE if log_decay is None else SCALAR if log_decay.dim() == 3 else OUTER if outer else INNER
    block_d = _block_d(inner, size)
    blocks = triton.cdiv(size, block_d)
    per_segment = triton.cdiv(length, max(1, PROGRAMS // (blocks * batch * heads)))
    per_segment = ANCHOR.value * triton.cdiv(per_segment, ANCHOR.value)
    segments = triton.cdiv(length, per_segment)
    out = x.new_empty(batch, length, heads, size, dtype=dtype)
    bf16 = torch.bfloat16 in (x.dtype, y.dtype, z.dtype)

    by_key = decay_kind in (INNER, OUTER)
    failed = x.new_empty(batch * heads * segments * blocks if by_key else 0)

    def walk(read: bool, start: Tensor | None, end: Tensor | None, total: Tensor | None) -> None:
        for careful, kernel in enumerate((_fast, _careful)[: 1 + by_key]):
            kernel[(blocks, batch * heads * segments)](
                x, y, z, weight, log_decay, out if read else None, start, end, total,
                products if read else None, anchors if read else None, into_decay if read else None, failed,
                scale, length, heads, segments, per_segment,
                *strides(x, 3), *strides(y, 3), *strides(z, 3), *strides(weight, 3), *strides(log_decay, 3),
                A=inner, D=size, BLOCK_A=block(inner), BLOCK_D=block_d, DECAY=decay_kind, REVERSE=reverse, READ=read,
                TRANSPOSED=outer and segments == 1, CAREFUL=bool(careful),
                TYPE=tl.bfloat16 if bf16 else tl.float32, PRECISION="tf32" if bf16 else "tf32x3", ROLE=role,
            )  # fmt: skip

    if segments > 1:
        states = x.new_empty(batch, heads, segments, inner, size, dtype=torch.float32)
        width = {INNER: inner, OUTER: size}.get(decay_kind, 1)
        total = x.new_empty(batch, heads, segments, width, dtype=torch.float32)
        walk(False, None, states, total)
        linear_attention_join_kernel[(triton.cdiv(inner * size, 1024), batch * heads)](
            states, total, start, segments,
            A=inner, D=size, DECAY=decay_kind, REVERSE=reverse, TRANSPOSED=outer, BLOCK=1024, ROLE=role,
        )  # fmt: skip
        start = states
    walk(True, start, end, None)
    return out


def _block_d(inner: int, size: int) -> int:
    """Columns of the state that a program keeps: as many as fit into its registers."""
    return min(block(size), 32 if inner > 256 else 64)


class _LinearAttention(torch.autograd.Function):
    """log_decay is None, [B, T, H] or [B, T, H, K]."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None, state: Tensor | None, scale: float
    ) -> tuple[Tensor, Tensor]:
        q, k, v = packed(q), packed(k), packed(v)
        if log_decay is not None and log_decay.dim() == 4:
            log_decay = packed(log_decay)
        state = None if state is None else state.contiguous()
        end = q.new_empty(q.shape[0], q.shape[2], q.shape[3], v.shape[3], dtype=torch.float32)
        o = _run("fwd", q, k, v, log_decay, scale, dtype=v.dtype, start=state, end=end)
        ctx.save_for_backward(q, k, v, log_decay, state)
        ctx.scale = scale
        ctx.set_materialize_grads(False)
        return o, end

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        q, k, v, log_decay, state = ctx.saved_tensors
        do, d_end = gradients
        do = torch.zeros_like(v) if do is None else packed(do)
        d_end = None if d_end is None else d_end.contiguous()
        need_q, need_k, need_v, need_decay, need_state = ctx.needs_input_grad[:5]
        dq = dk = dv = d_decay = d_state = None
        if need_v or need_state:
            end = torch.empty_like(state, dtype=torch.float32) if need_state else None
            dv = _run("bwd_dv", k, q, do, log_decay, ctx.scale, dtype=v.dtype, start=d_end, end=end)
            if end is not None:
                d_state = end
                if log_decay is not None:
                    first = log_decay[:, 0].float().exp()
                    d_state = end * (first[..., None] if first.dim() == 3 else first[..., None, None])
                d_state = d_state.to(state.dtype)
        products = anchors = partial = None
        if need_decay:
            by_key, keys = log_decay.dim() == 4, q.shape[3]
            shape = k.shape if by_key else (triton.cdiv(keys, _block_d(v.shape[3], keys)), *log_decay.shape)
            products = k.new_empty(shape, dtype=torch.float32)
            anchored = triton.cdiv(k.shape[1], ANCHOR.value)
            anchors = k.new_empty(k.shape[0], k.shape[2], anchored, v.shape[3], keys)
            partial = k.new_empty(shape, dtype=log_decay.dtype if by_key else torch.float32)
        if need_q or need_decay:
            dq = _run(
                "bwd_dq", do, v, k, log_decay, ctx.scale, dtype=q.dtype, start=state,
                weight=q, products=products, anchors=anchors,
            )  # fmt: skip
        if need_k or need_decay:
            dk = _run(
                "bwd_dk", v, do, q, log_decay, ctx.scale, dtype=k.dtype, start=d_end,
                weight=k, products=products, anchors=anchors, into_decay=partial,
            )  # fmt: skip
        if partial is not None:
            d_decay = partial if by_key else partial.sum(0).to(log_decay.dtype)
            d_decay.masked_fill_(log_decay < FLOOR.value, 0.0)  # there it is nothing but rounding
        return dq, dk, dv, d_decay, d_state, None


def linear_attention(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None, state: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """q, k [B, T, H, K], v [B, T, H, V], log_decay None, [H], [B, T, H] or [B, T, H, K], state [B, H, K, V] or None."""
    if log_decay is not None and log_decay.dim() == 1:
        log_decay = log_decay.expand(q.shape[:3])
    return _LinearAttention.apply(q, k, v, log_decay, state, scale)


@tuned([(4, 1), (8, 1), (2, 1)], key=["K", "V"], BLOCK_V=(32, 64, 16))
@triton.jit
def linear_attention_step_kernel(
    q, k, v, decay, state, out, after, scale, heads, q_batch, q_head, k_batch, k_head, v_batch, v_head,
    decay_batch, decay_head, K: tl.constexpr, V: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
    BY_KEY: tl.constexpr,
):  # fmt: skip
    """Grid (blocks of V at most, B x H): reads the state once, writes the new one once."""
    which = tl.program_id(1)
    batch, head = (which // heads).to(tl.int64), (which % heads).to(tl.int64)
    rows, columns = tl.arange(0, BLOCK_K), tl.program_id(0) * BLOCK_V + tl.arange(0, BLOCK_V)
    keys, values = rows < K, columns < V
    query = tl.load(q + batch * q_batch + head * q_head + rows, mask=keys, other=0.0).to(tl.float32)
    key = tl.load(k + batch * k_batch + head * k_head + rows, mask=keys, other=0.0).to(tl.float32)
    value = tl.load(v + batch * v_batch + head * v_head + columns, mask=values, other=0.0).to(tl.float32)
    places = which.to(tl.int64) * K * V + rows[:, None] * V + columns[None, :]
    whole = keys[:, None] & values[None, :]
    memory = tl.load(state + places, mask=whole, other=0.0).to(tl.float32)
    if decay is not None:
        decay += batch * decay_batch + head * decay_head
        if BY_KEY:
            memory *= tl.exp(tl.load(decay + rows, mask=keys, other=0.0).to(tl.float32))[:, None]
        else:
            memory *= tl.exp(tl.load(decay).to(tl.float32))
    memory += key[:, None] * value[None, :]
    tl.store(after + places, memory, mask=whole)
    read = tl.sum(query[:, None] * memory, 0) * scale
    tl.store(out + which.to(tl.int64) * V + columns, read.to(out.dtype.element_ty), mask=values)


def linear_attention_step(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None, state: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """A single token: q, k [B, H, K], v [B, H, V], log_decay None, [H], [B, H] or [B, H, K], state [B, H, K, V]."""
    if needs_gradient(q, k, v, log_decay, state):
        if log_decay is not None and log_decay.dim() > 1:
            log_decay = log_decay[:, None]
        o, state = linear_attention(q[:, None], k[:, None], v[:, None], log_decay, state, scale)
        return o[:, 0], state
    (batch, heads, keys), values = q.shape, v.shape[-1]
    q, k, v, state = packed(q), packed(k), packed(v), state.contiguous()
    if log_decay is not None:
        log_decay = log_decay.expand(batch, heads) if log_decay.dim() == 1 else log_decay
        log_decay = packed(log_decay) if log_decay.dim() == 3 else log_decay
    out, after = v.new_empty(batch, heads, values), torch.empty_like(state)
    linear_attention_step_kernel[lambda meta: (triton.cdiv(values, meta["BLOCK_V"]), batch * heads)](
        q, k, v, log_decay, state, out, after, scale, heads,
        *strides(q, 2), *strides(k, 2), *strides(v, 2), *strides(log_decay, 2),
        K=keys, V=values, BLOCK_K=block(keys), BY_KEY=log_decay is not None and log_decay.dim() == 3,
    )  # fmt: skip
    return out, after
