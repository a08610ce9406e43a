"""Rotary position embedding.

Shapes: B sequences, T tokens, H heads, K head size.
"""

import torch
from torch import Tensor

from kernels.backend import from_triton, pick
from kernels.vmap import stackable


def _plain(x: Tensor, position: int, theta: float) -> Tensor:
    half, length = x.shape[-1] // 2, x.shape[1] if x.dim() == 4 else 1
    places = torch.arange(position, position + length, device=x.device, dtype=torch.float32)
    exponents = torch.arange(half, device=x.device, dtype=torch.float32) / -half
    angles = places[:, None, None] * theta**exponents
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return x * torch.cat([cos, cos], -1) + x.roll(half, -1) * torch.cat([-sin, sin], -1)


IMPLEMENTATIONS = {"reference": _plain, "chunked": _plain, "triton": from_triton("rotary", "rotary")}


@stackable()
def rotary(x: Tensor, position: int, theta: float) -> Tensor:
    """Rotary position embedding (2104.09864, eq. 34) in the half-split layout: pairs are elements i and i + K/2.

    Args:
        x: [B, T, H, K], whose first token stands at `position`, or [B, H, K], a single token at `position`; K is even.
        position: place in the sequence, from 0 on.
        theta: base of the wavelengths; pair i turns by theta^(-2i/K) a token.

    Returns:
        x with its pairs turned, same shape and dtype.

    Raises:
        ValueError: K is odd.
    """
    if x.shape[-1] % 2:
        raise ValueError(f"x has {x.shape[-1]} elements a head: expected an even number")
    return pick(IMPLEMENTATIONS, x)(x, position, theta)
