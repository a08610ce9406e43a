"""The states before every chunk in Triton: one program walks over the chunks for some of the value columns.

With R_n the gradient of S_{n+1}, and D_n that of S_n as an output, the walk back is

    R_{n-1} = keep_n * R_n + move_n^T R_n + D_n,

and d_add_n = R_n, d_move_n = R_n S_n^T, d_keep_n = the row sums of R_n * S_n.

Shapes: B sequences, H heads, N chunks, K key size, V value size; all float32. Elements a chunk and head, where f is the
number of blocks into which V is split:

    chunk_states_fwd_kernel  reads move, add, keep: f K (K + 1) + K V    writes S: K V
    chunk_states_bwd_kernel  reads move, D, keep:   f K (K + 1) + K V    writes R: K V

Products are made of three in TF32: plain ones would have no tensor cores.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.chunk_states import IMPLEMENTATIONS
from kernels.tuning import block, tuned

LARGEST = 128
"""Largest K: `move` has to fit into shared memory."""
CONFIGS = [(4, 1), (4, 1), (8, 1), (4, 2)]
BLOCKS = {"BLOCK_VALUES": [32, 16, 64, 16]}


@triton.jit
def _tile(pointer, row, column, WIDTH: tl.constexpr, mask):
    return tl.load(pointer + row[:, None] * WIDTH + column[None, :], mask=mask, other=0.0)


@tuned(CONFIGS, key=["KEYS", "VALUES"], **BLOCKS)
@triton.jit
def chunk_states_fwd_kernel(
    keep, move, add, initial, states, final, chunks,
    KEYS: tl.constexpr, VALUES: tl.constexpr, BLOCK_KEYS: tl.constexpr, BLOCK_VALUES: tl.constexpr,
):  # fmt: skip
    """All chunks of one sequence and head."""
    blocks = tl.cdiv(VALUES, BLOCK_VALUES)
    sequence = (tl.program_id(0) // blocks).to(tl.int64)
    row = tl.arange(0, BLOCK_KEYS)
    column = (tl.program_id(0) % blocks) * BLOCK_VALUES + tl.arange(0, BLOCK_VALUES)
    in_state = (row < KEYS)[:, None] & (column < VALUES)[None, :]
    in_move = (row < KEYS)[:, None] & (row < KEYS)[None, :]
    state = _tile(initial + sequence * KEYS * VALUES, row, column, VALUES, in_state)
    for chunk in range(chunks):
        number = sequence * chunks + chunk
        offset = number * KEYS * VALUES + row[:, None] * VALUES + column[None, :]
        tl.store(states + offset, state, mask=in_state)
        moved = _tile(move + number * KEYS * KEYS, row, row, KEYS, in_move)
        kept = tl.load(keep + number * KEYS + row, mask=row < KEYS, other=0.0)
        after = tl.load(add + offset, mask=in_state, other=0.0) + kept[:, None] * state
        state = tl.dot(moved, state, acc=after, input_precision="tf32x3")
    tl.store(final + sequence * KEYS * VALUES + row[:, None] * VALUES + column[None, :], state, mask=in_state)


@tuned(CONFIGS, key=["KEYS", "VALUES"], **BLOCKS)
@triton.jit
def chunk_states_bwd_kernel(
    keep, move, d_states, d_final, d_add, d_initial, chunks,
    KEYS: tl.constexpr, VALUES: tl.constexpr, BLOCK_KEYS: tl.constexpr, BLOCK_VALUES: tl.constexpr,
):  # fmt: skip
    """All chunks of one sequence and head, from the last to the first."""
    blocks = tl.cdiv(VALUES, BLOCK_VALUES)
    sequence = (tl.program_id(0) // blocks).to(tl.int64)
    row = tl.arange(0, BLOCK_KEYS)
    column = (tl.program_id(0) % blocks) * BLOCK_VALUES + tl.arange(0, BLOCK_VALUES)
    in_state = (row < KEYS)[:, None] & (column < VALUES)[None, :]
    in_move = (row < KEYS)[:, None] & (row < KEYS)[None, :]
    d_state = _tile(d_final + sequence * KEYS * VALUES, row, column, VALUES, in_state)
    for done in range(chunks):
        number = sequence * chunks + chunks - 1 - done
        offset = number * KEYS * VALUES + row[:, None] * VALUES + column[None, :]
        tl.store(d_add + offset, d_state, mask=in_state)
        moved = _tile(move + number * KEYS * KEYS, row, row, KEYS, in_move)
        kept = tl.load(keep + number * KEYS + row, mask=row < KEYS, other=0.0)
        before = tl.load(d_states + offset, mask=in_state, other=0.0) + kept[:, None] * d_state
        d_state = tl.dot(tl.trans(moved), d_state, acc=before, input_precision="tf32x3")
    tl.store(d_initial + sequence * KEYS * VALUES + row[:, None] * VALUES + column[None, :], d_state, mask=in_state)


class _ChunkStates(torch.autograd.Function):
    @staticmethod
    def forward(ctx, keep, move, add, state):  # type: ignore[override]
        batch, heads, chunks, keys, values = add.shape
        every = keep.expand(*add.shape[:4], 1).contiguous()
        move, add, state = move.contiguous(), add.contiguous(), state.contiguous()
        states, final = torch.empty_like(add), torch.empty_like(state)
        chunk_states_fwd_kernel[_grid(batch * heads, values)](
            every, move, add, state, states, final, chunks, KEYS=keys, VALUES=values, BLOCK_KEYS=block(keys)
        )
        ctx.save_for_backward(every, move, states)
        ctx.by_key = keep.shape[3] > 1
        return states, final

    @staticmethod
    @once_differentiable
    def backward(ctx, d_states, d_final):  # type: ignore[override]
        keep, move, states = ctx.saved_tensors
        batch, heads, chunks, keys, values = states.shape
        d_add, d_initial = torch.empty_like(states), torch.empty_like(d_final, memory_format=torch.contiguous_format)
        chunk_states_bwd_kernel[_grid(batch * heads, values)](
            keep, move, d_states.contiguous(), d_final.contiguous(), d_add, d_initial, chunks,
            KEYS=keys, VALUES=values, BLOCK_KEYS=block(keys),
        )  # fmt: skip
        d_keep = (d_add * states).sum(-1, keepdim=True)
        d_keep = d_keep if ctx.by_key else d_keep.sum(-2, keepdim=True)
        return d_keep, d_add @ states.mT, d_add, d_initial


def _grid(sequences: int, values: int):
    return lambda meta: (sequences * triton.cdiv(values, meta["BLOCK_VALUES"]),)


def chunk_states(keep: Tensor, move: Tensor, add: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """See `kernels.chunk_states.chunk_states`; in float32, and for keys of at most LARGEST elements."""
    if add.dtype != torch.float32 or add.shape[3] > LARGEST:
        return IMPLEMENTATIONS["chunked"](keep, move, add, state)
    return _ChunkStates.apply(keep, move, add, state)
