"""Rotary position embedding in Triton.

Shapes: B sequences, T tokens, H heads, K head size; x [B, T, H, K].

Reads x once and writes y once; a program holds all heads of one token, which share its angles. The gradient turns back
by the same angles, so that backward is forward with the other sign and keeps nothing.
"""

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.tuning import packed

PAIRS = 2048
"""Pairs of elements in a program, about."""


@triton.jit(
    do_not_specialize=["position", "length"],
    repr=lambda found: f"rotary_{'bwd' if found.constants['INVERSE'] else 'fwd'}_kernel",
)
def rotary_kernel(
    x, frequencies, y, position, length, heads, x_batch, x_token, x_head,
    HALF: tl.constexpr, INVERSE: tl.constexpr, HEADS: tl.constexpr, PAIRS: tl.constexpr,
):  # fmt: skip
    """Some heads of one token."""
    batch, token = (tl.program_id(0) // length).to(tl.int64), (tl.program_id(0) % length).to(tl.int64)
    pair = tl.arange(0, PAIRS)
    head = tl.program_id(1) * HEADS + tl.arange(0, HEADS)[:, None]
    inside = (head < heads) & (pair < HALF)[None, :]
    angle = (position + token).to(tl.float32) * tl.load(frequencies + pair, pair < HALF, other=0.0)
    cos, sin = tl.cos(angle)[None, :], tl.sin(angle)[None, :]
    if INVERSE:
        sin = -sin
    first = x + batch * x_batch + token * x_token + head * x_head + pair[None, :]
    a = tl.load(first, inside, other=0.0).to(tl.float32)
    b = tl.load(first + HALF, inside, other=0.0).to(tl.float32)
    out = y + tl.program_id(0).to(tl.int64) * heads * (2 * HALF) + head * (2 * HALF) + pair[None, :]
    tl.store(out, (a * cos - b * sin).to(y.dtype.element_ty), inside)
    tl.store(out + HALF, (b * cos + a * sin).to(y.dtype.element_ty), inside)


@lru_cache(maxsize=64)
def _frequencies(half: int, theta: float, device: torch.device) -> Tensor:
    exponents = torch.arange(half, dtype=torch.float64) / -half
    return (theta**exponents).to(device, torch.float32)


def _turn(x: Tensor, position: int, theta: float, inverse: bool) -> Tensor:
    x = packed(x)
    batch, length, heads, size = x.shape
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    pairs = triton.next_power_of_2(size // 2)
    at_once = min(triton.next_power_of_2(heads), max(1, PAIRS // pairs))
    rotary_kernel[(batch * length, triton.cdiv(heads, at_once))](
        x, _frequencies(size // 2, theta, x.device), y, position, length, heads, *x.stride()[:3],
        HALF=size // 2, INVERSE=inverse, HEADS=at_once, PAIRS=pairs, num_warps=4,
    )  # fmt: skip
    return y


class _Rotary(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, position, theta):
        ctx.position, ctx.theta = position, theta
        return _turn(x, position, theta, inverse=False)

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        return _turn(dy, ctx.position, ctx.theta, inverse=True), None, None


def rotary(x: Tensor, position: int, theta: float) -> Tensor:
    """See `kernels.rotary`."""
    if x.dim() == 3:
        return _Rotary.apply(x.unsqueeze(1), position, theta).squeeze(1)
    return _Rotary.apply(x, position, theta)
