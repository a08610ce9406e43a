"""Local linear regression for all queries at once (2510.01450, section 3), the slopes by conjugate gradients.

With softmax weights p_j of the keys of a query q, offsets z_j = k_j - q and their mean m, the value at the query is
sum_j p_j (1 - z_j . r) v_j / (1 - m . r) where (sum_j p_j z_j z_j^T + ridge) r = m.

Shapes: B sequences, T queries, S tokens, H heads, K key size, V value size.
"""

import torch
from torch import Tensor

from kernels.conjugate_gradients import solve


def local_linear_attention(q: Tensor, k: Tensor, v: Tensor, ridge: Tensor, steps: int, scale: float) -> Tensor:
    """q [B, T, H, K] are the last T of the S tokens of k, v [B, S, H, ...], ridge [B, H] -> o [B, T, H, V]."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    new, total = q.shape[2], k.shape[2]
    place = torch.arange(total, device=q.device)
    later = place > place[total - new :, None]
    weights = (scale * (q @ k.mT)).masked_fill(later, float("-inf")).softmax(-1)
    ridge = ridge[..., None, None]

    def along(x: Tensor) -> Tensor:
        """z_j . x, [B, H, T, S]."""
        return x @ k.mT - (x * q).sum(-1, keepdim=True)

    def product(x: Tensor) -> Tensor:
        weighted = weights * along(x)
        return weighted @ k - weighted.sum(-1, keepdim=True) * q + ridge * x

    mean = weights @ k - q
    slope = solve(product, mean, steps)
    # Under a name of its own: the way back calls `product` again.
    fitted = weights * (1 - along(slope))
    return ((fitted @ v) / (1 - (mean * slope).sum(-1, keepdim=True))).transpose(1, 2)
