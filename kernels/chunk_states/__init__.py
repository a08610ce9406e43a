"""The states before every chunk of a sequence, where a chunk changes its state by an affine map.

It is what is left of a chunked recurrence once all that chunks do by themselves is done. Chunked forms call it.

Shapes: B sequences, H heads, N chunks, K key size, V value size.
"""

import torch
from torch import Tensor

from kernels.backend import from_triton, pick


def _loop(keep: Tensor, move: Tensor, add: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    states = []
    # unbind, because each index by n would fill a whole gradient with zeros in the backward pass
    for kept, moved, added in zip(keep.unbind(2), move.unbind(2), add.unbind(2), strict=True):
        states.append(state)
        state = kept * state + moved @ state + added
    return torch.stack(states, 2), state


IMPLEMENTATIONS = {"reference": _loop, "chunked": _loop, "triton": from_triton("chunk_states", "chunk_states")}


def chunk_states(keep: Tensor, move: Tensor, add: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """S_{n+1} = keep_n * S_n + move_n S_n + add_n.

    Args:
        keep: [B, H, N, K or 1, 1].
        move: [B, H, N, K, K].
        add: [B, H, N, K, V].
        state: S_0 [B, H, K, V].

    Returns:
        S_0 ... S_{N-1} [B, H, N, K, V], and S_N [B, H, K, V].
    """
    return pick(IMPLEMENTATIONS, add)(keep, move, add, state)
