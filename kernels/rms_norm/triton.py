"""Root-mean-square norm with a gate in Triton.

Shapes: N outer rows, H inner rows (heads), D elements that are normalised together; x, gate and y [N, H, D].

With r = (mean(x^2) + eps)^-0.5, n = r x and g = silu(gate), y = n weight g, and backward

    dn = dy weight g,   dx = r (dn - n mean(dn n)),   d_gate = dy n weight silu'(gate),   d_weight = sum dy n g.

Forward reads x and gate and writes y: 2 or 3 D elements a row. Backward reads x, gate and dy, computes r anew, and
writes dx and d_gate: 3 or 5 D elements a row. The sum over rows goes into a buffer [programs, D], which torch adds up.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.tuning import packed, strides, tuned

ELEMENTS = 4096
"""Elements in a tile, about."""
PROGRAMS = 1024
"""Most programs of the backward pass: enough for a large GPU, few enough that their sums of gradients cost little."""


@tuned([(4, 1), (8, 1)], key=["size"])
@triton.jit
def rms_norm_fwd_kernel(
    x, weight, gate, y, rows, heads, size, x_outer, x_head, gate_outer, gate_head, eps,
    GATED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Some rows of y."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < size)
    outer, head = (row // heads).to(tl.int64), row % heads
    values = tl.load(x + outer * x_outer + head * x_head + column, inside, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(values * values, 1) / size + eps)[:, None]
    out = values * scale * tl.load(weight + column, column < size, other=0.0).to(tl.float32)
    if GATED:
        gates = tl.load(gate + outer * gate_outer + head * gate_head + column, inside, other=0.0).to(tl.float32)
        out *= gates * tl.sigmoid(gates)
    tl.store(y + row.to(tl.int64) * size + column, out.to(y.dtype.element_ty), inside)


@tuned([(4, 1), (8, 1)], key=["size"])
@triton.jit
def rms_norm_bwd_kernel(
    x, weight, gate, dy, dx, dgate, dweight, rows, heads, size,
    x_outer, x_head, gate_outer, gate_head, dy_outer, dy_head, eps,
    GATED: tl.constexpr, STEPS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Some rows of the gradients of x and gate, and the sum over them of the gradient of weight."""
    column = tl.arange(0, COLUMNS)[None, :]
    factor = tl.load(weight + column, column < size, other=0.0).to(tl.float32)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for step in range(STEPS):
        row = (tl.program_id(0) * STEPS + step) * ROWS + tl.arange(0, ROWS)[:, None]
        inside = (row < rows) & (column < size)
        outer, head = (row // heads).to(tl.int64), row % heads
        values = tl.load(x + outer * x_outer + head * x_head + column, inside, other=0.0).to(tl.float32)
        grad = tl.load(dy + outer * dy_outer + head * dy_head + column, inside, other=0.0).to(tl.float32)
        scale = tl.rsqrt(tl.sum(values * values, 1) / size + eps)[:, None]
        normal = values * scale
        out = row.to(tl.int64) * size + column
        if GATED:
            gates = tl.load(gate + outer * gate_outer + head * gate_head + column, inside, other=0.0).to(tl.float32)
            share = tl.sigmoid(gates)
            to_gate = grad * normal * factor * share * (1 + gates * (1 - share))
            tl.store(dgate + out, to_gate.to(dgate.dtype.element_ty), inside)
            grad *= gates * share
        total += grad * normal
        grad *= factor
        to_x = scale * (grad - normal * (tl.sum(grad * normal, 1) / size)[:, None])
        tl.store(dx + out, to_x.to(dx.dtype.element_ty), inside)
    place = tl.program_id(0).to(tl.int64) * size + tl.arange(0, COLUMNS)
    tl.store(dweight + place, tl.sum(total, 0), tl.arange(0, COLUMNS) < size)


def _tile(size: int) -> dict[str, int]:
    columns = triton.next_power_of_2(size)
    return {"ROWS": max(1, ELEMENTS // columns), "COLUMNS": columns}


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, gate, eps):
        x, gate = packed(x), None if gate is None else packed(gate)
        outer, heads, size = x.shape
        y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        tile = _tile(size)
        rms_norm_fwd_kernel[(triton.cdiv(outer * heads, tile["ROWS"]),)](
            x, weight, gate, y, outer * heads, heads, size, *x.stride()[:2], *strides(gate, 2), eps,
            GATED=gate is not None, **tile,
        )  # fmt: skip
        ctx.save_for_backward(x, weight, gate)
        ctx.eps = eps
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        x, weight, gate = ctx.saved_tensors
        dy = packed(dy)
        outer, heads, size = x.shape
        tile = _tile(size)
        blocks = triton.cdiv(outer * heads, tile["ROWS"])
        steps = triton.next_power_of_2(triton.cdiv(blocks, PROGRAMS))
        programs = triton.cdiv(blocks, steps)
        dx = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        dgate = None if gate is None else torch.empty(x.shape, dtype=gate.dtype, device=x.device)
        dweight = torch.empty(programs, size, dtype=torch.float32, device=x.device)
        rms_norm_bwd_kernel[(programs,)](
            x, weight, gate, dy, dx, dgate, dweight, outer * heads, heads, size,
            *x.stride()[:2], *strides(gate, 2), *dy.stride()[:2], ctx.eps,
            GATED=gate is not None, STEPS=steps, **tile,
        )  # fmt: skip
        return dx, dweight.sum(0).to(weight.dtype), dgate, None


def _three(x: Tensor) -> Tensor:
    """x as [N, H, D]: heads of a slice of one projection stay a view."""
    return x.flatten(0, -3) if x.dim() > 2 else x.reshape(-1, 1, x.shape[-1])


def rms_norm(x: Tensor, weight: Tensor, gate: Tensor | None, eps: float) -> Tensor:
    """See `kernels.rms_norm`."""
    return _RMSNorm.apply(_three(x), packed(weight), None if gate is None else _three(gate), eps).view(x.shape)
