"""Local linear regression, one query at a time, by the normal equations of value, slope and ridge together."""

import torch
from torch import Tensor


def local_linear_attention(q: Tensor, k: Tensor, v: Tensor, ridge: Tensor, steps: int, scale: float) -> Tensor:
    """q [B, T, H, K] are the last T of the S tokens of k, v [B, S, H, ...], ridge [B, H] -> o [B, T, H, V].

    It takes no steps: this is what they lead to.
    """
    past, size, outputs = k.shape[1] - q.shape[1], q.shape[-1], []
    penalty = torch.cat([ridge.new_zeros(*ridge.shape, 1), ridge[..., None].expand(*ridge.shape, size)], -1)
    first = torch.eye(size + 1, dtype=q.dtype, device=q.device)[0]
    for t in range(q.shape[1]):
        query, keys = q[:, t], k[:, : past + t + 1]
        weights = (scale * torch.einsum("bhk,bshk->bhs", query, keys)).softmax(-1)
        offsets = keys - query[:, None]
        rows = torch.cat([torch.ones_like(offsets[..., :1]), offsets], -1)  # of the regression
        system = torch.einsum("bhs,bshi,bshj->bhij", weights, rows, rows) + torch.diag_embed(penalty)
        found = torch.linalg.solve(system, first.expand(*system.shape[:-1]))
        outputs.append(torch.einsum("bhi,bshi,bhs,bshv->bhv", found, rows, weights, v[:, : past + t + 1]))
    return torch.stack(outputs, 1)
