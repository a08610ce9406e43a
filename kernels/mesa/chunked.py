"""Least squares by conjugate gradients, for all tokens at once, in chunks (2506.05233, section 3 and appendix).

The system of a token is its state plus a diagonal. Its product with a vector is linear attention with the vector as
query and keys as values, so a step of the solver takes two products with the scores of a chunk and one with a state.

Shapes: B sequences, T tokens, H heads, N chunks of C tokens, K key size, V value size.
"""

import torch
from torch import Tensor

from kernels.chunks import STRONGEST, decays, from_chunks, into_chunks
from kernels.conjugate_gradients import MANY, solve

CHUNK = 16


def mesa(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, ridge: Tensor, steps: int, state: Tensor
) -> tuple[Tensor, Tensor]:
    """q, k [B, T, H, K], v [B, T, H, V], beta, log_decay [B, T, H], ridge [B, H, K], state [B, H, K, K + V]."""
    length, keys, size = q.shape[1], k.shape[-1], min(CHUNK, q.shape[1])
    log_decay = log_decay.clamp(min=STRONGEST)
    q, k, v, beta, log_decay = (into_chunks(x, size) for x in (q, k, v, beta, log_decay))
    within, since_start, until_end = decays(log_decay)
    weight = within * beta[..., None, :]  # [B, H, N, C, C]
    written = (k * until_end * beta[..., None]).mT @ torch.cat([k, v], -1)
    states = []
    for keep, write in zip(since_start[:, :, :, -1:].unbind(2), written.unbind(2), strict=True):
        states.append(state)
        state = keep * state + write
    before_k, before_v = torch.stack(states, 2).split([keys, v.shape[-1]], -1)
    ridge = ridge[:, :, None, None]

    def product(x: Tensor) -> Tensor:
        return (x @ k.mT * weight) @ k + (x * since_start) @ before_k + ridge * x

    if steps < MANY * keys:
        x = solve(product, q, steps)
    else:
        # As good as exact: then the matrices themselves, which are small, are solved faster.
        squares = (k[..., :, None] * k[..., None, :]).flatten(-2)
        systems = weight @ squares + since_start * before_k.flatten(-2).unsqueeze(-2)
        x = torch.linalg.solve(systems.unflatten(-1, (keys, keys)) + torch.diag_embed(ridge), q)
    o = (x @ k.mT * weight) @ v + (x * since_start) @ before_v
    return from_chunks(o, length), state
