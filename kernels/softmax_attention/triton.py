"""Softmax attention on a GPU: torch's fused operator where it is good, else our own kernels.

torch's operator has no window, no keys before the first query, and is slow where keys and values differ in size or
one query token meets a long cache. Shapes as in `triton_kernels`.
"""

import math
from typing import Any

import torch
import triton
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from kernels.backend import needs_gradient
from kernels.softmax_attention import chunked
from kernels.softmax_attention.triton_decode import decode
from kernels.softmax_attention.triton_kernels import BACKWARD_DKV, BACKWARD_DQ, FORWARD
from kernels.tuning import block, packed

LARGEST = 256
"""Largest head of our own kernels."""


def softmax_attention(q: Tensor, k: Tensor, v: Tensor, window: int | None, scale: float) -> Tensor:
    """q [B, T, H, K] are the last T of the P + T tokens of k, v [B, P + T, G, ...] -> o [B, T, H, V]."""
    new, total = q.shape[1], k.shape[1]
    if window is not None and window >= total:
        window = None
    # The kernels take the highest score for the highest of scale times score.
    if max(q.shape[-1], v.shape[-1]) > LARGEST or scale <= 0:
        return chunked.softmax_attention(q, k, v, window, scale)
    gradients = needs_gradient(q, k, v)
    if window is None and new == total > 1:
        if q.dtype == torch.float32:
            return chunked.softmax_attention(q, k, v, window, scale)
        if q.shape[-1] == v.shape[-1] and q.shape[-1] % 8 == 0:
            return _fused(q, k, v, scale)
    q, k, v = packed(q), packed(k), packed(v)
    if new == 1 and not gradients:
        return decode(q, k, v, window, scale)
    return Attention.apply(q, k, v, window, scale)


def _fused(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """torch's operator, which reads grouped heads in place in 16 bits only."""
    grouped = q.shape[2] != k.shape[2]
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=grouped).transpose(1, 2)


def _blocks(kernel: str, width: int) -> tuple[int, int]:
    """Queries and keys of a tile, for the bytes of a (padded) row: what registers and shared memory hold."""
    if width <= 256:
        return {"fwd": (128, 64), "bwd_dq": (128, 64), "bwd_dkv": (64, 64)}[kernel]
    if width <= 512:
        return {"fwd": (128, 64), "bwd_dq": (64, 32), "bwd_dkv": (32, 64)}[kernel]
    return {"fwd": (32, 32), "bwd_dq": (32, 16), "bwd_dkv": (16, 32)}[kernel]


def launch(kernel: str, q: Tensor, v: Tensor) -> tuple[str, int, int, dict[str, int]]:
    """Which configurations, queries and keys of a tile, and the constants of a kernel."""
    heads, key_size = q.shape[2:]
    groups, value_size = v.shape[2:]
    bk, bv = block(key_size), block(value_size)
    # Products in float32 have no matrix units: their operands fill the registers.
    width = max(bk, bv) * 2 if q.element_size() == 2 else 1024
    queries, keys = _blocks(kernel, width)
    constants = dict(GROUP=heads // groups, K=key_size, V=value_size, BK=bk, BV=bv, BM=queries, BN=keys)
    return "small" if width <= 256 else "large", queries, keys, constants


class Attention(torch.autograd.Function):
    """Our own kernels: q [B, T, H, K], k and v [B, P + T, G, ...] with neighbouring numbers -> o [B, T, H, V]."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, window: int | None, scale: float) -> Tensor:
        """See the class."""
        batch, new, heads, _ = q.shape
        o = torch.empty(batch, new, heads, v.shape[-1], dtype=v.dtype, device=v.device)
        lse = torch.empty(batch, heads, new, dtype=torch.float32, device=v.device)
        variant, queries, _, constants = launch("fwd", q, v)
        FORWARD[variant][(triton.cdiv(new, queries), heads, batch)](
            q, k, v, o, lse, *q.stride()[:3], *k.stride()[:3], *v.stride()[:3],
            new, k.shape[1] - new, window, scale * math.log2(math.e), **constants,
        )  # fmt: skip
        ctx.save_for_backward(q, k, v, o, lse)
        ctx.window, ctx.scale = window, scale
        return o

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Two kernels: dq with delta, then dk and dv."""
        q, k, v, o, lse = ctx.saved_tensors
        do = packed(gradients[0])
        batch, new, heads, _ = q.shape
        total, groups = k.shape[1:3]
        strides = [size for x in (q, k, v, do) for size in x.stride()[:3]]
        numbers = new, total - new, ctx.window, ctx.scale * math.log2(math.e), ctx.scale
        delta = torch.empty(lse.shape, dtype=torch.float32, device=q.device)
        dq = torch.empty(q.shape, dtype=q.dtype, device=q.device) if ctx.needs_input_grad[0] else None
        variant, queries, _, constants = launch("bwd_dq", q, v)
        BACKWARD_DQ[variant][(triton.cdiv(new, queries), heads, batch)](
            q, k, v, o, do, lse, delta, dq, *strides, *numbers, **constants
        )
        if not (ctx.needs_input_grad[1] or ctx.needs_input_grad[2]):
            return dq, None, None, None, None
        dk = torch.empty(k.shape, dtype=k.dtype, device=k.device)
        dv = torch.empty(v.shape, dtype=v.dtype, device=v.device)
        variant, _, keys, constants = launch("bwd_dkv", q, v)
        BACKWARD_DKV[variant][(triton.cdiv(total, keys), groups, batch)](
            q, k, v, do, lse, delta, dk, dv, *strides, *numbers, **constants
        )
        return dq, dk, dv, None, None
