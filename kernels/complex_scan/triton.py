"""Sums of complex modes on a GPU: a program walks over the chunks for some channels of one sequence.

Shapes: B sequences, T tokens, C channels, N modes of a channel, L tokens of a chunk, M chunks. Complex tensors have a
dimension of 2 and channels last, so that threads load neighbouring channels at once: into [2, N, L, C],
out [2, L, N, C], whole [2, N, C], states [B, 2, N, C].

What a chunk does is linear in x and in the state S before it, and the same for all (`kernels.complex_scan.chunked`):

    y = taps x + Re(out S),    S' = whole S + into x.

So the walk back is the same walk from the end over dy, with R the gradient of S',

    dx = taps^T dy + Re(conj(into)^T R),    R' = conj(whole) R + conj(out)^T dy,

and the gradients of the four tables are sums of products over all chunks: of dy x^T, R x^T, dy conj(S) and R conj(S).
torch makes the tables from decays, angles and reads, and leads their gradients back.

Only channels and sequences divide the work: few sequences of a narrow model leave a part of the chip idle. Sums are in
float32 and outside the matrix units, 2 L + 8 N + 8 N / L FLOPs for each of x, which take longer than its memory. A
program keeps its tables in registers, L (L + 4 N) elements a channel. Elements moved through memory for each of x:
forward 2 (x read; y written). Backward finds the states before all chunks anew, 2 N / L elements each, rather than
keeping them: 5 + 8 N / L (x read twice, dy twice; dx written; S and R written and read).
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.complex_scan import chunked
from kernels.long_convolution.triton import antidiagonals
from kernels.tuning import packed, tuned

CHUNK = 16
ELEMENTS = 256
"""Of a state or a chunk in a program: their product with CHUNK is a table."""
PROGRAMS = 264
"""For the gradients of the tables, two for each multiprocessor of an H100: with fewer, chunks are divided."""
CONFIGS = [(8, 1), (4, 1)]


@triton.jit
def _rows(x, first, row, size, channel, inside, x_row):
    """Tokens `first` + `row` of a chunk, zero past its end: [L, channels]."""
    place = (first + row).to(tl.int64)[:, None] * x_row + channel[None, :]
    return tl.load(x + place, (row < size)[:, None] & inside[None, :], other=0.0).to(tl.float32)


@triton.jit
def _table(table, first, second, FIRST, SECOND, channel, channels):
    """Of a table [FIRST, SECOND, C]: places and mask of the elements of some channels."""
    place = (first[:, None, None] * SECOND + second[None, :, None]) * channels + channel[None, None, :]
    valid = (first < FIRST)[:, None, None] & (second < SECOND)[None, :, None] & (channel < channels)[None, None, :]
    return table + place, valid


@tuned(CONFIGS, key=["MODES", "REVERSE"])
@triton.jit(repr=lambda found: f"complex_scan_{'bwd_dx' if found.constants['REVERSE'] else 'fwd'}_kernel")
def complex_scan_kernel(
    x, taps, into, out, whole, start, y, states, final, chunks, size, channels, x_batch, x_row,
    MODES: tl.constexpr, REVERSE: tl.constexpr, CHUNK: tl.constexpr, BLOCK_MODES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Grid (blocks of channels, B). y [B, T, C], states [B, M, 2, N, C] before each chunk of `size`; None: not wanted.

    REVERSE: from the last chunk on, and with the filter in the other direction.
    """
    batch = tl.program_id(1).to(tl.int64)
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    row, mode = tl.arange(0, CHUNK), tl.arange(0, BLOCK_MODES)
    inside = channel < channels
    place, valid = _table(into, mode, row, MODES, size, channel, channels)
    into_real = tl.load(place, valid, other=0.0)
    into_imaginary = tl.load(place + MODES * size * channels, valid, other=0.0)
    if y is not None:
        y += batch * chunks * size * channels
        lag = row[None, :] - row[:, None] if REVERSE else row[:, None] - row[None, :]
        valid = ((lag >= 0) & (lag < size))[:, :, None] & inside[None, None, :]
        filters = tl.load(taps + lag[:, :, None] * channels + channel[None, None, :], valid, other=0.0)
        place, valid = _table(out, row, mode, size, MODES, channel, channels)
        out_real = tl.load(place, valid, other=0.0)
        out_imaginary = tl.load(place + size * MODES * channels, valid, other=0.0)
    width = MODES * channels
    place, valid = mode[:, None] * channels + channel[None, :], (mode < MODES)[:, None] & inside[None, :]
    whole_real = tl.load(whole + place, valid, other=0.0)
    whole_imaginary = tl.load(whole + width + place, valid, other=0.0)
    real = tl.load(start + batch * 2 * width + place, valid, other=0.0)
    imaginary = tl.load(start + (batch * 2 + 1) * width + place, valid, other=0.0)

    x += batch * x_batch
    ahead = _rows(x, (chunks - 1) * size if REVERSE else 0, row, size, channel, inside, x_row)
    for done in range(chunks):
        chunk = chunks - 1 - done if REVERSE else done
        values = ahead
        # While one chunk is computed, the next is loaded; at the end, once more the last.
        following = tl.maximum(chunk - 1, 0) if REVERSE else tl.minimum(chunk + 1, chunks - 1)
        ahead = _rows(x, following * size, row, size, channel, inside, x_row)
        if states is not None:
            kept = states + (batch * chunks + chunk) * 2 * width + place
            tl.store(kept, real, valid)
            tl.store(kept + width, imaginary, valid)
        if y is not None:
            o = tl.sum(filters * values[None, :, :], 1)
            o += tl.sum(out_real * real[None, :, :] - out_imaginary * imaginary[None, :, :], 1)
            where = (chunk * size + row).to(tl.int64)[:, None] * channels + channel[None, :]
            tl.store(y + where, o.to(y.dtype.element_ty), (row < size)[:, None] & inside[None, :])
        turned = whole_real * real - whole_imaginary * imaginary
        imaginary = whole_real * imaginary + whole_imaginary * real + tl.sum(into_imaginary * values[None, :, :], 1)
        real = turned + tl.sum(into_real * values[None, :, :], 1)
    if final is not None:
        tl.store(final + batch * 2 * width + place, real, valid)
        tl.store(final + (batch * 2 + 1) * width + place, imaginary, valid)


@tuned(CONFIGS, key=["MODES"])
@triton.jit
def complex_scan_bwd_tables_kernel(
    x, dy, states, later, filters, into, out, whole, steps, every, chunks, size, channels,
    x_batch, x_row, dy_batch, dy_row,
    MODES: tl.constexpr, CHUNK: tl.constexpr, BLOCK_MODES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Grid (blocks of channels, parts): sums over `steps` of all chunks of all sequences.

    Gradients of tables have parts in front; filters [parts, L, L, C] are the matrices that the taps make. states and
    later, S and R, [B, M, 2, N, C].
    """
    part = tl.program_id(1)
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    row, mode = tl.arange(0, CHUNK), tl.arange(0, BLOCK_MODES)
    inside, width = channel < channels, MODES * channels
    place, valid = mode[:, None] * channels + channel[None, :], (mode < MODES)[:, None] & inside[None, :]
    d_filters = tl.zeros([CHUNK, CHUNK, CHANNELS], tl.float32)
    d_into_real = tl.zeros([BLOCK_MODES, CHUNK, CHANNELS], tl.float32)
    d_into_imaginary = tl.zeros([BLOCK_MODES, CHUNK, CHANNELS], tl.float32)
    d_out_real = tl.zeros([CHUNK, BLOCK_MODES, CHANNELS], tl.float32)
    d_out_imaginary = tl.zeros([CHUNK, BLOCK_MODES, CHANNELS], tl.float32)
    d_whole_real = tl.zeros([BLOCK_MODES, CHANNELS], tl.float32)
    d_whole_imaginary = tl.zeros([BLOCK_MODES, CHANNELS], tl.float32)
    for step in range(part * steps, tl.minimum((part + 1) * steps, every)):
        batch, first = (step // chunks).to(tl.int64), step % chunks * size
        values = _rows(x + batch * x_batch, first, row, size, channel, inside, x_row)
        into_y = _rows(dy + batch * dy_batch, first, row, size, channel, inside, dy_row)
        kept = (batch * chunks + step % chunks) * 2 * width + place
        real, imaginary = tl.load(states + kept, valid, other=0.0), tl.load(states + kept + width, valid, other=0.0)
        r_real, r_imaginary = tl.load(later + kept, valid, other=0.0), tl.load(later + kept + width, valid, other=0.0)
        d_filters += into_y[:, None, :] * values[None, :, :]
        d_into_real += r_real[:, None, :] * values[None, :, :]
        d_into_imaginary += r_imaginary[:, None, :] * values[None, :, :]
        d_out_real += into_y[:, None, :] * real[None, :, :]
        d_out_imaginary -= into_y[:, None, :] * imaginary[None, :, :]
        d_whole_real += r_real * real + r_imaginary * imaginary
        d_whole_imaginary += r_imaginary * real - r_real * imaginary
    part = part.to(tl.int64)
    where, covered = _table(filters + part * size * size * channels, row, row, size, size, channel, channels)
    tl.store(where, d_filters, covered)
    table = size * MODES * channels
    where, covered = _table(into + part * 2 * table, mode, row, MODES, size, channel, channels)
    tl.store(where, d_into_real, covered)
    tl.store(where + table, d_into_imaginary, covered)
    where, covered = _table(out + part * 2 * table, row, mode, size, MODES, channel, channels)
    tl.store(where, d_out_real, covered)
    tl.store(where + table, d_out_imaginary, covered)
    tl.store(whole + part * 2 * width + place, d_whole_real, valid)
    tl.store(whole + (part * 2 + 1) * width + place, d_whole_imaginary, valid)


def _blocks(modes: int, channels: int) -> dict[str, int]:
    """Constants of a kernel."""
    covered = triton.next_power_of_2(modes)
    most = max(1, ELEMENTS // max(CHUNK, covered))
    return {
        "MODES": modes, "CHUNK": CHUNK, "BLOCK_MODES": covered, "CHANNELS": min(most, triton.next_power_of_2(channels)),
    }  # fmt: skip


def _walk(
    x: Tensor, taps: Tensor, into: Tensor, out: Tensor, whole: Tensor, start: Tensor, y: Tensor | None,
    states: Tensor | None, final: Tensor | None, *, reverse: bool = False,
) -> None:  # fmt: skip
    (batch, length, channels), size = x.shape, taps.shape[0]
    constants = _blocks(whole.shape[1], channels)
    complex_scan_kernel[(triton.cdiv(channels, constants["CHANNELS"]), batch)](
        x, taps, into, out, whole, start, y, states, final, length // size, size, channels, *x.stride()[:2],
        REVERSE=reverse, **constants,
    )  # fmt: skip


def _adjoint(table: Tensor) -> Tensor:
    """Complex [2, ...]: conjugated, and a table [2, R, S, C] transposed too."""
    real, imaginary = table.transpose(1, 2) if table.dim() == 4 else table
    return torch.stack([real, -imaginary])


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, taps: Tensor, into: Tensor, out: Tensor, whole: Tensor, start: Tensor
    ) -> tuple[Tensor, Tensor]:
        x = packed(x)
        y, final = torch.empty(x.shape, dtype=x.dtype, device=x.device), torch.empty_like(start)
        _walk(x, taps, into, out, whole, start, y, None, final)
        ctx.save_for_backward(x, taps, into, out, whole, start)
        return y, final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, dfinal: Tensor) -> tuple[Tensor, ...]:
        x, taps, into, out, whole, start = ctx.saved_tensors
        (batch, length, channels), size, dy = x.shape, taps.shape[0], packed(dy)
        chunks, modes = length // size, whole.shape[1]
        dx, dstart = torch.empty(x.shape, dtype=x.dtype, device=x.device), torch.empty_like(start)
        states, later = (start.new_empty(batch, chunks, *start.shape[1:]) for _ in range(2))
        _walk(x, taps, into, out, whole, start, None, states, None)
        back = (_adjoint(out), _adjoint(into), _adjoint(whole), dfinal.contiguous())
        _walk(dy, taps, *back, dx, later, dstart, reverse=True)

        constants, every = _blocks(modes, channels), batch * chunks
        programs = triton.cdiv(channels, constants["CHANNELS"])
        steps = triton.cdiv(every, max(1, PROGRAMS // programs))
        parts = triton.cdiv(every, steps)
        filters = start.new_empty(parts, size, size, channels)
        tables = [start.new_empty(parts, *table.shape) for table in (into, out, whole)]
        complex_scan_bwd_tables_kernel[(programs, parts)](
            x, dy, states, later, filters, *tables, steps, every, chunks, size, channels,
            *x.stride()[:2], *dy.stride()[:2], **constants,
        )  # fmt: skip
        dtaps = antidiagonals(filters.sum(0).flip(1).movedim(2, 0))[:, size - 1 :].T
        return dx, dtaps, *(table.sum(0) for table in tables), dstart


def _sums(
    x: Tensor, taps: Tensor, into: Tensor, out: Tensor, whole: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """As `chunked.sums`."""
    tables = [
        torch.view_as_real(table).permute(order).contiguous()
        for table, order in ((into, (3, 2, 0, 1)), (out, (3, 0, 2, 1)), (whole, (2, 1, 0)), (state, (0, 3, 2, 1)))
    ]
    y, final = _Sums.apply(x, taps.contiguous(), *tables)
    return y, torch.view_as_complex(final.permute(0, 3, 2, 1).contiguous())


def complex_scan(
    x: Tensor, write: Tensor, log_decay: Tensor, angle: Tensor, read: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """x [B, T, C] of any type; write, log_decay, angle [C, N], read [C, N, 2] and state [B, C, N, 2] in float32."""
    return chunked.complex_scan(x, write, log_decay, angle, read, state, chunk=CHUNK, sums=_sums)
