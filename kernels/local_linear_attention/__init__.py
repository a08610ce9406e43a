"""Attention that fits a value and a slope around each query, where softmax fits a value alone.

All pairs of tokens meet at once, several times, and there is no Triton form yet.

Shapes: B sequences, T queries, S tokens, H heads, G key-value heads, K key size, V value size.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from kernels.backend import check_shapes, pick, state_dtype, to_heads
from kernels.local_linear_attention import chunked, reference
from kernels.vmap import stackable


def _plain(form: Callable) -> Callable:
    """A form with what it wants: float32 at least."""

    def run(q: Tensor, k: Tensor, v: Tensor, ridge: Tensor, steps: int, scale: float) -> Tensor:
        dtype = state_dtype(q)
        with torch.autocast(q.device.type, enabled=False):  # a solver in bfloat16 would not converge
            return form(*(x.to(dtype) for x in (q, k, v, ridge)), steps, scale).to(v.dtype)

    return run


IMPLEMENTATIONS = {
    "reference": _plain(reference.local_linear_attention),
    "chunked": _plain(chunked.local_linear_attention),
    "triton": _plain(chunked.local_linear_attention),
}


@stackable()
def local_linear_attention(
    q: Tensor, k: Tensor, v: Tensor, ridge: Tensor, steps: int, *, scale: float | None = None
) -> Tensor:
    """b of argmin_{b, W} sum_s p_s |v_s - b - W (k_s - q_t)|^2 + ridge |W|^2 for each query (2510.01450, section 3).

    p are the weights of causal softmax attention. Without W it is that attention. Slopes are found by conjugate
    gradients from zero, and so are their gradients.

    Args:
        q: of the last T tokens, [B, T, H, K].
        k: of all tokens, [B, S, G, K], where G divides H: query head h reads key-value head h // (H / G).
        v: [B, S, G, V].
        ridge: above 0, [B, H].
        steps: of the solver; the reference solves exactly.
        scale: of the scores; K^-0.5 by default.

    Returns:
        o [B, T, H, V] in the dtype of v.

    Raises:
        ValueError: shapes do not fit.
    """
    batch, _, heads, keys = q.shape
    tokens, groups = k.shape[1:3]
    check_shapes(
        k=(k, (batch, tokens, groups, keys)),
        v=(v, (batch, tokens, groups, v.shape[-1])),
        ridge=(ridge, (batch, heads)),
    )
    scale = keys**-0.5 if scale is None else scale
    k, v = (to_heads(x, heads) for x in (k, v))
    return pick(IMPLEMENTATIONS, q)(q, k, v, ridge, steps, scale)
