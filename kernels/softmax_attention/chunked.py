"""Softmax attention by torch's own fused operator."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from kernels.backend import to_heads


def softmax_attention(q: Tensor, k: Tensor, v: Tensor, window: int | None, scale: float) -> Tensor:
    """q [B, T, H, K] are the last T of the P + T tokens of k, v [B, P + T, G, ...] -> o [B, T, H, V]."""
    new, total = q.shape[1], k.shape[1]
    windowed = window is not None and window < total
    mask = None
    if windowed or (new > 1 and new < total):
        age = torch.arange(total - new, total, device=q.device)[:, None] - torch.arange(total, device=q.device)
        mask = (age >= 0) if window is None else (age >= 0) & (age < window)
    k, v = (to_heads(x, q.shape[2]) for x in (k, v))
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    causal = mask is None and new > 1
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scale).transpose(1, 2)
