"""silu(gate) * value in Triton.

Shapes: x [N, 2 F], gates first; y [N, F].

Forward reads x and writes y, 3 F elements a row. Backward reads x and the gradient of y and writes that of x, 5 F
elements: with s = sigmoid(gate), d_value = dy gate s and d_gate = dy value s (1 + gate (1 - s)).
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.tuning import packed, tuned

CONFIGS = [(4, 1), (4, 1), (8, 1)]
ROWS, COLUMNS = [4, 2, 1], [512, 512, 2048]


@tuned(CONFIGS, key=["size"], ROWS=ROWS, COLUMNS=COLUMNS)
@triton.jit
def swiglu_fwd_kernel(x, y, rows, size, x_row, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """A tile of y."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < size)
    gate = tl.load(x + row * x_row + column, inside, other=0.0).to(tl.float32)
    value = tl.load(x + row * x_row + size + column, inside, other=0.0).to(tl.float32)
    tl.store(y + row * size + column, (gate * tl.sigmoid(gate) * value).to(y.dtype.element_ty), inside)


@tuned(CONFIGS, key=["size"], ROWS=ROWS, COLUMNS=COLUMNS)
@triton.jit
def swiglu_bwd_kernel(x, dy, dx, rows, size, x_row, dy_row, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """A tile of the gradients of gates and values."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < size)
    gate = tl.load(x + row * x_row + column, inside, other=0.0).to(tl.float32)
    value = tl.load(x + row * x_row + size + column, inside, other=0.0).to(tl.float32)
    grad = tl.load(dy + row * dy_row + column, inside, other=0.0).to(tl.float32)
    share = tl.sigmoid(gate)
    to_gate = grad * value * share * (1 + gate * (1 - share))
    out = dx + row * (2 * size) + column
    tl.store(out, to_gate.to(dx.dtype.element_ty), inside)
    tl.store(out + size, (grad * gate * share).to(dx.dtype.element_ty), inside)


def _grid(rows: int, size: int):
    return lambda meta: (triton.cdiv(rows, meta["ROWS"]), triton.cdiv(size, meta["COLUMNS"]))


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x = packed(x)
        rows, size = x.shape[0], x.shape[1] // 2
        y = x.new_empty(rows, size)
        swiglu_fwd_kernel[_grid(rows, size)](x, y, rows, size, x.stride(0))
        ctx.save_for_backward(x)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        dy, dx = packed(dy), torch.empty(x.shape, dtype=x.dtype, device=x.device)
        rows, size = dy.shape
        swiglu_bwd_kernel[_grid(rows, size)](x, dy, dx, rows, size, x.stride(0), dy.stride(0))
        return dx


def swiglu(x: Tensor) -> Tensor:
    """See `kernels.swiglu`."""
    return _SwiGLU.apply(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], x.shape[-1] // 2)
