"""The long causal convolution as products with Toeplitz blocks, in Triton.

Shapes: B sequences, T tokens, C channels in G groups of S, W taps.

All channels of a group in all sequences meet the same matrix M_{t,s} = h_{t-s}, so they are the columns of one product,
B S of them. Its tiles sum over blocks of inputs, whose Toeplitz blocks are read from the filter by t - s:

    y_t = sum_s M_{t,s} x_s,    dx_s = sum_t M_{t,s} dy_t,    dM_{t,s} = sum over columns of dy_t x_s,

and dh_k is the sum of dM along the diagonal t - s = k. Blocks of dM at the same distance have the same diagonals, so a
program adds up many of them; torch sums over programs and diagonals. The W - 1 inputs before x are tokens -1, -2 and so
on. Products are of the type of x, and summed in float32.

Elements moved through memory for each of x: forward 2 (x read; y written); backward 4 (dy read by either kernel, x
read; dx written). What several programs read comes from the second-level cache after the first. Sums for dh take
BLOCK (W + 2 BLOCK) elements at most for each group and part of the tokens, mostly one part.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from kernels.short_convolution.triton import last_inputs
from kernels.tuning import block, packed, strides, tuned

BLOCK = 64
"""Tokens of a block of dM, each way."""
WIDEST = 64
"""Most columns of a tile."""
PROGRAMS = 264
"""For dM, two for each multiprocessor of an H100: with fewer, tokens are divided among programs."""


@triton.jit
def _columns(first, group, batch, SIZE: tl.constexpr, COLUMNS: tl.constexpr):
    """Sequence and channel of the columns of a tile, and which of them there are."""
    column = first + tl.arange(0, COLUMNS)
    return (column // SIZE).to(tl.int64), group * SIZE + column % SIZE, column < batch * SIZE


@triton.jit
def _tile(x, past, token, sequence, channel, valid, length, x_batch, x_row, past_batch, past_row, WIDTH: tl.constexpr):
    """Rows `token` of the columns; those before token 0 from the past, zero where there is none."""
    inside = ((token >= 0) & (token < length))[:, None] & valid[None, :]
    place = (sequence * x_batch + channel)[None, :] + token.to(tl.int64)[:, None] * x_row
    values = tl.load(x + place, inside, other=0.0)
    if past is not None:
        before = ((token < 0) & (token > -WIDTH))[:, None] & valid[None, :]
        place = (sequence * past_batch + channel)[None, :] + (token + WIDTH - 1).to(tl.int64)[:, None] * past_row
        values += tl.load(past + place, before, other=0.0).to(values.dtype)
    return values


@tuned(
    [(4, 3), (4, 3), (4, 2), (8, 3)], key=["WIDTH", "COLUMNS", "TRANSPOSED"],
    ROWS=[64, 64, 32, 128], DEPTH=[64, 32, 32, 64],
)  # fmt: skip
@triton.jit(repr=lambda found: f"long_convolution_{'bwd_dx' if found.constants['TRANSPOSED'] else 'fwd'}_kernel")
def long_convolution_kernel(
    x, past, filters, y, y_past, length, batch, x_batch, x_row, past_batch, past_row,
    WIDTH: tl.constexpr, SIZE: tl.constexpr, COLUMNS: tl.constexpr, TRANSPOSED: tl.constexpr,
    ROWS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """Grid (blocks of tokens, blocks of columns, G): a tile of y = M x, or of y = M^T x with y_past for tokens < 0."""
    group, channels = tl.program_id(2), tl.num_programs(2) * SIZE
    sequence, channel, valid = _columns(tl.program_id(1) * COLUMNS, group, batch, SIZE, COLUMNS)
    LOOK: tl.constexpr = (WIDTH - 1 + DEPTH - 1) // DEPTH * DEPTH
    begin = tl.program_id(0) * ROWS
    if y_past is not None:
        begin -= WIDTH - 1
    row = begin + tl.arange(0, ROWS)
    if not TRANSPOSED:
        begin -= LOOK
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for first in range(begin, begin + ROWS + LOOK, DEPTH):
        token = first + tl.arange(0, DEPTH)
        lag = token[None, :] - row[:, None] if TRANSPOSED else row[:, None] - token[None, :]
        taps = tl.load(filters + group * WIDTH + lag, (lag >= 0) & (lag < WIDTH), other=0.0)
        values = _tile(
            x, past, token, sequence, channel, valid, length, x_batch, x_row, past_batch, past_row, WIDTH
        )  # fmt: skip
        total = tl.dot(taps.to(values.dtype), values, total, input_precision="tf32x3")
    inside = ((row >= 0) & (row < length))[:, None] & valid[None, :]
    place = (sequence[None, :] * length + row[:, None]) * channels + channel[None, :]
    tl.store(y + place, total.to(y.dtype.element_ty), inside)
    if y_past is not None:
        place = (sequence[None, :] * (WIDTH - 1) + row[:, None] + WIDTH - 1) * channels + channel[None, :]
        tl.store(y_past + place, total.to(y_past.dtype.element_ty), (row < 0)[:, None] & valid[None, :])


@tuned([(4, 3), (4, 2), (8, 3)], key=["WIDTH", "COLUMNS"])
@triton.jit
def long_convolution_bwd_filters_kernel(
    x, past, dy, sums, length, batch, blocks, steps, x_batch, x_row, past_batch, past_row, dy_batch, dy_row,
    WIDTH: tl.constexpr, SIZE: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Grid (distances, parts, G): sums [parts, G, BLOCK, distances BLOCK] of dM over blocks of rows and of columns.

    Inputs are ordered from the last token of the block of rows back, so that elements of a lag lie where row and column
    add up to lag + BLOCK - 1. A step is one of `blocks` blocks of columns for one block of rows.
    """
    distance, part, group = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    order = tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK, BLOCK], tl.float32)
    for step in range(part * steps, tl.minimum((part + 1) * steps, tl.cdiv(length, BLOCK) * blocks)):
        first = step // blocks * BLOCK
        sequence, channel, valid = _columns(step % blocks * COLUMNS, group, batch, SIZE, COLUMNS)
        into = _tile(dy, None, first + order, sequence, channel, valid, length, dy_batch, dy_row, 0, 0, WIDTH)
        values = _tile(
            x, past, first + BLOCK - 1 - distance * BLOCK - order, sequence, channel, valid,
            length, x_batch, x_row, past_batch, past_row, WIDTH,
        )  # fmt: skip
        total = tl.dot(into, tl.trans(values), total, input_precision="tf32x3")
    width = tl.num_programs(0) * BLOCK
    place = (part * tl.num_programs(2) + group).to(tl.int64) * BLOCK * width
    tl.store(sums + place + order[:, None] * width + distance * BLOCK + order[None, :], total)


class _LongConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, filters: Tensor, past: Tensor | None) -> Tensor:
        x, filters, past = packed(x), filters.contiguous(), None if past is None else packed(past)
        ctx.save_for_backward(x, filters, past)
        return _product(x, filters, past)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, filters, past = ctx.saved_tensors
        dy = packed(dy)
        need_x, need_filters, need_past = ctx.needs_input_grad
        dx = dpast = dfilters = None
        if need_x or need_past:
            dx, dpast = _product(dy, filters, None, (past.shape, past.dtype) if need_past else None, transposed=True)
        if need_filters:
            dfilters = _gradient_of_filters(x, past, dy, *filters.shape).to(filters.dtype)
        return dx, dfilters, dpast


def _product(
    x: Tensor, filters: Tensor, past: Tensor | None, before: tuple[Any, torch.dtype] | None = None, *,
    transposed: bool = False,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """M x [B, T, C], and what stands in front of it; `before`: shape and dtype of that, if it is wanted."""
    (batch, length, channels), (groups, width) = x.shape, filters.shape
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    y_past = None if before is None else torch.empty(before[0], dtype=before[1], device=x.device)
    rows = length if before is None else length + width - 1
    columns = batch * channels // groups
    tile = min(WIDEST, block(columns))
    long_convolution_kernel[lambda meta: (triton.cdiv(rows, meta["ROWS"]), triton.cdiv(columns, tile), groups)](
        x, past, filters, y, y_past, length, batch, *strides(x, 2), *strides(past, 2),
        WIDTH=width, SIZE=channels // groups, COLUMNS=tile, TRANSPOSED=transposed,
    )  # fmt: skip
    return y, y_past


def _gradient_of_filters(x: Tensor, past: Tensor | None, dy: Tensor, groups: int, width: int) -> Tensor:
    """[G, W] in float32."""
    batch, length, channels = x.shape
    columns = batch * channels // groups
    tile = min(WIDEST, block(columns))
    blocks, distances = triton.cdiv(columns, tile), triton.cdiv(width - 1, BLOCK) + 1
    every = blocks * triton.cdiv(length, BLOCK)
    steps = triton.cdiv(every, max(1, PROGRAMS // (distances * groups)))
    parts = triton.cdiv(every, steps)
    sums = torch.empty(parts, groups, BLOCK, distances * BLOCK, dtype=torch.float32, device=x.device)
    long_convolution_bwd_filters_kernel[(distances, parts, groups)](
        x, past, dy, sums, length, batch, blocks, steps, *strides(x, 2), *strides(past, 2), *strides(dy, 2),
        WIDTH=width, SIZE=channels // groups, COLUMNS=tile, BLOCK=BLOCK,
    )  # fmt: skip
    return antidiagonals(sums.sum(0))[:, BLOCK - 1 : BLOCK - 1 + width]


def antidiagonals(x: Tensor) -> Tensor:
    """The sums of the elements whose row and column add up to the same: [..., R, S] -> [..., R + S - 1]."""
    rows, columns = x.shape[-2:]
    # Rows that are one element short of the padded width move by one to the right from each to the next.
    moved = pad(x, (0, rows)).flatten(-2)[..., :-rows].unflatten(-1, (rows, rows + columns - 1))
    return moved.sum(-2)


def long_convolution(x: Tensor, filters: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """See `kernels.long_convolution`."""
    cached = filters.shape[1] - 1
    past = state if cached else None
    return _LongConvolution.apply(x, filters, past), last_inputs(x, past, cached)
