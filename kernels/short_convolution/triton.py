"""The short causal convolution in Triton.

Shapes: B sequences, T tokens, C channels, W width; x [B, T, C], past inputs [B, W - 1, C], weight [W, C] here (so that
threads load neighbouring channels at once), but [C, W] in the step.

With z_t = sum_w weight_w x_{t-W+1+w} + bias and y = silu(z) (or z), dz_t = dy_t silu'(z_t) and

    dx_t = sum_s weight_{W-1-s} dz_{t+s},   d_weight_w = sum_t dz_t x_{t-W+1+w},   d_bias = sum_t dz_t.

Forward reads x and writes y, 2 C elements a token; backward reads x and dy and writes dx, 3 C elements. A tile reads
its rows W times, shifted by a token each: once from memory, then from the cache. Backward computes z anew, W times for
each token: cheaper than keeping it. Sums for d_weight, and after them for d_bias, go into a buffer
[programs, W or W + 1, C], which torch adds up.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.backend import needs_gradient
from kernels.tuning import block, packed, strides, tuned

TOKENS = 256
"""Most tokens in a program of the backward pass: its sums of gradients are small beside them."""


@triton.jit
def _inputs(
    x, past, first, rows, columns, length, channels, x_row, past_row,
    SHIFT: tl.constexpr, WIDTH: tl.constexpr, PAST: tl.constexpr,
):  # fmt: skip
    """Inputs of the tokens `first` + `rows` + SHIFT; those before token 0 from the past, if there is one."""
    token = first + rows + SHIFT
    inside = (columns < channels)[None, :]
    tokens = ((token >= 0) & (token < length))[:, None]
    offsets = (rows + SHIFT)[:, None] * x_row + columns[None, :]
    values = tl.load(x + first * x_row + offsets, tokens & inside, other=0.0).to(tl.float32)
    if PAST:
        before = ((token < 0) & (token > -WIDTH))[:, None]
        offsets = (token + WIDTH - 1)[:, None] * past_row + columns[None, :]
        values += tl.load(past + offsets, before & inside, other=0.0).to(tl.float32)
    return values


@triton.jit
def _tap(weight, columns, channels, TAP: tl.constexpr):
    return tl.load(weight + TAP * channels + columns, columns < channels, other=0.0).to(tl.float32)[None, :]


@triton.jit
def _sums(
    x, past, weight, bias, first, rows, columns, length, channels, x_row, past_row,
    SHIFT: tl.constexpr, WIDTH: tl.constexpr, PAST: tl.constexpr,
):  # fmt: skip
    """z of the tokens `first` + `rows` + SHIFT."""
    z = _inputs(x, past, first, rows, columns, length, channels, x_row, past_row, SHIFT, WIDTH, PAST)
    z *= _tap(weight, columns, channels, WIDTH - 1)
    for tap in tl.static_range(WIDTH - 1):
        # One constant, so that the compiler sees which inputs several sums share, and loads them once.
        values = _inputs(
            x, past, first, rows, columns, length, channels, x_row, past_row, SHIFT + tap - WIDTH + 1, WIDTH, PAST
        )
        z += values * _tap(weight, columns, channels, tap)
    if bias is not None:
        z += _tap(bias, columns, channels, 0)
    return z


@tuned([(4, 1), (4, 1), (8, 1)], key=["channels"], ROWS=[32, 64, 64], COLUMNS=[64, 64, 128])
@triton.jit
def short_convolution_fwd_kernel(
    x, past, weight, bias, y, length, channels, x_batch, x_row, past_batch, past_row,
    WIDTH: tl.constexpr, PAST: tl.constexpr, ACTIVATION: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """A tile of y."""
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    first = tl.program_id(1).to(tl.int64) * ROWS
    batch = tl.program_id(2).to(tl.int64)
    rows = tl.arange(0, ROWS)
    x += batch * x_batch
    if PAST:
        past += batch * past_batch
    z = _sums(x, past, weight, bias, first, rows, columns, length, channels, x_row, past_row, 0, WIDTH, PAST)
    if ACTIVATION:
        z *= tl.sigmoid(z)
    inside = (first + rows < length)[:, None] & (columns < channels)[None, :]
    out = y + (batch * length + first) * channels + rows[:, None] * channels + columns[None, :]
    tl.store(out, z.to(y.dtype.element_ty), inside)


@tuned([(4, 1), (4, 1), (8, 1)], key=["channels"], ROWS=[16, 8, 16], COLUMNS=[64, 64, 64])
@triton.jit
def short_convolution_bwd_kernel(
    x, past, weight, bias, dy, dx, dpast, sums, length, channels,
    x_batch, x_row, past_batch, past_row, dy_batch, dy_row,
    WIDTH: tl.constexpr, PAST: tl.constexpr, ACTIVATION: tl.constexpr,
    TOKENS: tl.constexpr, TAPS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The gradient of x for some channels of TOKENS tokens, and the sums over these of those of weight and bias."""
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    batch = tl.program_id(2).to(tl.int64)
    rows, taps = tl.arange(0, ROWS), tl.arange(0, TAPS)[:, None]
    inside = (columns < channels)[None, :]
    x, dy = x + batch * x_batch, dy + batch * dy_batch
    begin = tl.program_id(1).to(tl.int64) * TOKENS
    if PAST:
        # The tokens of the past have gradients too.
        begin -= WIDTH - 1
        past += batch * past_batch
    total = tl.zeros((TAPS, COLUMNS), tl.float32)
    for offset in range(0, TOKENS, ROWS):
        first = begin + offset
        to_x = tl.zeros((ROWS, COLUMNS), tl.float32)
        for step in tl.static_range(WIDTH):
            later = rows + step
            tokens = ((first + later >= 0) & (first + later < length))[:, None]
            offsets = later[:, None] * dy_row + columns[None, :]
            grad = tl.load(dy + first * dy_row + offsets, tokens & inside, other=0.0).to(tl.float32)
            if ACTIVATION:
                z = _sums(
                    x, past, weight, bias, first, rows, columns, length, channels, x_row, past_row, step, WIDTH, PAST
                )
                share = tl.sigmoid(z)
                grad *= share * (1 + z * (1 - share))
            to_x += grad * _tap(weight, columns, channels, WIDTH - 1 - step)
            if step == 0:
                for tap in tl.static_range(WIDTH):
                    values = _inputs(
                        x, past, first, rows, columns, length, channels, x_row, past_row, tap - WIDTH + 1, WIDTH, PAST
                    )
                    total += tl.where(taps == tap, tl.sum(grad * values, 0)[None, :], 0.0)
                if bias is not None:
                    total += tl.where(taps == WIDTH, tl.sum(grad, 0)[None, :], 0.0)
        token = first + rows
        out = dx + (batch * length + first) * channels + rows[:, None] * channels + columns[None, :]
        tl.store(out, to_x.to(dx.dtype.element_ty), ((token >= 0) & (token < length))[:, None] & inside)
        if PAST:
            out = dpast + (batch * (WIDTH - 1) + token + WIDTH - 1)[:, None] * channels + columns[None, :]
            tl.store(out, to_x.to(dpast.dtype.element_ty), (token < 0)[:, None] & inside)
    program = batch * tl.num_programs(1) + tl.program_id(1)
    count = WIDTH if bias is None else WIDTH + 1
    tl.store(sums + (program * count + taps) * channels + columns[None, :], total, (taps < count) & inside)


@triton.jit
def short_convolution_step_kernel(
    x, past, weight, bias, y, kept, channels, x_batch, past_batch, past_row,
    WIDTH: tl.constexpr, ACTIVATION: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """y of one token and the past that it leaves, for some channels of one sequence."""
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    batch = tl.program_id(1).to(tl.int64)
    inside = columns < channels
    z = tl.zeros((COLUMNS,), tl.float32)
    if bias is not None:
        z += tl.load(bias + columns, inside, other=0.0).to(tl.float32)
    for tap in tl.static_range(WIDTH):
        if tap < WIDTH - 1:
            value = tl.load(past + batch * past_batch + tap * past_row + columns, inside, other=0.0)
        else:
            value = tl.load(x + batch * x_batch + columns, inside, other=0.0)
        if tap > 0:
            place = kept + (batch * (WIDTH - 1) + tap - 1) * channels + columns
            tl.store(place, value.to(kept.dtype.element_ty), inside)
        factor = tl.load(weight + columns * WIDTH + tap, inside, other=0.0)
        z += value.to(tl.float32) * factor.to(tl.float32)
    if ACTIVATION:
        z *= tl.sigmoid(z)
    tl.store(y + batch * channels + columns, z.to(y.dtype.element_ty), inside)


class _ShortConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, past, activation):
        x, weight, past = packed(x), weight.T.contiguous(), None if past is None else packed(past)
        bias = None if bias is None else bias.contiguous()
        batch, length, channels = x.shape
        y = torch.empty(x.shape, dtype=x.dtype, device=x.device)

        def grid(meta):
            return triton.cdiv(channels, meta["COLUMNS"]), triton.cdiv(length, meta["ROWS"]), batch

        short_convolution_fwd_kernel[grid](
            x, past, weight, bias, y, length, channels, *x.stride()[:2], *strides(past, 2),
            WIDTH=weight.shape[0], PAST=past is not None, ACTIVATION=activation,
        )  # fmt: skip
        ctx.save_for_backward(x, weight, bias, past)
        ctx.activation = activation
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        x, weight, bias, past = ctx.saved_tensors
        dy = packed(dy)
        batch, length, channels = x.shape
        width = weight.shape[0]
        rows = length + (0 if past is None else width - 1)
        tokens = min(TOKENS, max(32, block(rows)))
        parts = triton.cdiv(rows, tokens)
        dx = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        dpast = None if past is None else torch.empty(past.shape, dtype=past.dtype, device=x.device)
        count = width if bias is None else width + 1
        sums = torch.empty(batch * parts, count, channels, dtype=torch.float32, device=x.device)

        def grid(meta):
            return triton.cdiv(channels, meta["COLUMNS"]), parts, batch

        short_convolution_bwd_kernel[grid](
            x, past, weight, bias, dy, dx, dpast, sums, length, channels,
            *x.stride()[:2], *strides(past, 2), *dy.stride()[:2],
            WIDTH=width, PAST=past is not None, ACTIVATION=ctx.activation,
            TOKENS=tokens, TAPS=triton.next_power_of_2(count),
        )  # fmt: skip
        total = sums.sum(0)
        dbias = None if bias is None else total[width].to(bias.dtype)
        return dx, total[:width].T.to(weight.dtype), dbias, dpast, None


def short_convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, state: Tensor | None, activation: bool
) -> tuple[Tensor, Tensor]:
    """See `kernels.short_convolution`."""
    cached = weight.shape[1] - 1
    past = state if cached else None
    return _ShortConvolution.apply(x, weight, bias, past, activation), last_inputs(x, past, cached)


def last_inputs(x: Tensor, past: Tensor | None, count: int) -> Tensor:
    """Of those before x [B, T, C], zero if `past` is None, and x: the last, [B, count, C]."""
    if x.shape[1] < count:
        before = x.new_zeros(x.shape[0], count, x.shape[2]) if past is None else past
        return torch.cat([before, x], 1)[:, x.shape[1] :]
    kept = x[:, x.shape[1] - count :]
    # A view would keep all of x in memory; in training it is there for the backward pass anyway.
    return kept if kept.requires_grad else kept.clone()


def short_convolution_step(
    x: Tensor, weight: Tensor, bias: Tensor | None, state: Tensor, activation: bool
) -> tuple[Tensor, Tensor]:
    """See `kernels.short_convolution_step`."""
    if needs_gradient(x, weight, bias, state):
        y, state = short_convolution(x.unsqueeze(1), weight, bias, state, activation)
        return y.squeeze(1), state
    x, state, weight = packed(x), packed(state), weight.contiguous()
    bias = None if bias is None else bias.contiguous()
    y, kept = (
        torch.empty(x.shape, dtype=x.dtype, device=x.device),
        torch.empty_like(state, memory_format=torch.contiguous_format),
    )
    short_convolution_step_kernel[(triton.cdiv(x.shape[1], 256), x.shape[0])](
        x, state, weight, bias, y, kept, x.shape[1], x.stride(0), *strides(state, 2),
        WIDTH=weight.shape[1], ACTIVATION=activation, COLUMNS=256, num_warps=2,
    )  # fmt: skip
    return y, kept
