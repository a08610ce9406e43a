"""Sparse state expansion."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.checks import head_size, not_negative, positive
from search_space.errors import InputError
from search_space.parts.base import Dims, PartCost, State
from search_space.parts.gradient import balanced
from search_space.parts.matrix_state import CHUNK, MatrixStateMixer

GATE_RANK = 16
GATE_TEMPERATURE = 16.0
TOUCHED = 2
"""States that a token writes and reads: the one that all share, and its partition's."""


class SparseStateExpansion(MatrixStateMixer):
    """Sparse state expansion (SSE, 2507.16577): of several states a token writes and reads the one that it chooses.

    Of N partitions a token chooses the one with the largest e = softmax(W_e x). Queries and keys of the partition are
    scaled by that e, and it alone decays; one further state is written and read by all tokens. Both are gated linear
    attention: S <- diag(a) S + k v^T with q = silu(W_q x), k = softmax(W_k x), v = silu(W_v x), and a = sigmoid(W_2 W_1
    x + b)^(1/16) of rank 16, which each of the two has of its own; W_q and W_k of partitions have an addition of rank
    V. What is read is added up; an RMS norm of each head and a SiLU gate of rank V follow. Choices are kept balanced by
    the auxiliary loss of experts.

    There is no official code. Where the paper leaves a choice open, this is as in a public re-implementation: a single
    partition for reading and writing, decay where a token writes and nowhere else.

    Args:
        dims: sizes of the model.
        heads: number of heads; None means one for every 256 of the width.
        key_size: of each head; None means width / heads.
        value_size: of each head, and the rank of gate and additions; None means width / heads.
        partitions: N.
        balance: weight of the auxiliary loss.

    Raises:
        InputError: sizes that are not positive integers or do not divide, less than two partitions, a negative weight.
    """

    source = "Scaling Linear Attention with Sparse State Expansion (arXiv 2507.16577)"

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        partitions: int = 4,
        balance: float = 0.01,
    ):
        heads = max(1, dims.width // 256) if heads is None else heads
        value_size = head_size("value_size", value_size, heads, dims.width)
        if positive("partitions", partitions) < 2:
            raise InputError("partitions", partitions, "2 at least")
        super().__init__(
            dims,
            heads=heads,
            key_size=head_size("key_size", key_size, heads, dims.width),
            value_size=value_size,
            conv=0,
            activation=False,
            gated=True,
            gate_size=value_size,
            extra=2 * value_size + 2 * GATE_RANK + partitions,
        )
        self.partitions, self.balance = partitions, not_negative("balance", balance)
        keys = heads * self.key_size
        self.gate = nn.Linear(value_size, heads * value_size, bias=False)
        self.more = nn.ModuleList(nn.Linear(value_size, keys, bias=False) for _ in "qk")
        self.decays = nn.ModuleList(nn.Linear(GATE_RANK, keys) for _ in range(TOUCHED))

    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Tensor | None, ...]:
        """Queries, keys, values and decay of the shared state's heads, then of all partitions' heads."""
        low_q, low_k, *low, chances = extra.split([self.value_size] * 2 + [GATE_RANK] * 2 + [self.partitions], -1)
        size = (self.heads, self.key_size)
        q, k = qk.chunk(2, -2)
        more_q, more_k = (map_(x).unflatten(-1, size) for map_, x in zip(self.more, (low_q, low_k), strict=True))
        decays = [map_(x).unflatten(-1, size) for map_, x in zip(self.decays, low, strict=True)]
        decay, own_decay = (F.logsigmoid(x) / GATE_TEMPERATURE for x in decays)
        chances = chances.softmax(-1)
        best = chances.topk(1, -1).indices
        if self.balance:
            chances = balanced(chances, best, self.balance)
        chosen = best == torch.arange(self.partitions, device=best.device)  # [..., N]
        weight = (chances * chosen)[..., None, None].to(v.dtype)
        spread = [
            F.silu(q + more_q).unsqueeze(-3) * weight,
            (k + more_k).softmax(-1).to(v.dtype).unsqueeze(-3) * weight,
            F.silu(v).unsqueeze(-3).expand(*v.shape[:-2], self.partitions, *v.shape[-2:]),
            own_decay.unsqueeze(-3) * chosen[..., None, None],
        ]
        shared = (F.silu(q), k.softmax(-1).to(v.dtype), F.silu(v), decay)
        return tuple(torch.cat([one, each.flatten(-3, -2)], -2) for one, each in zip(shared, spread, strict=True))

    def read(self, o: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        """The sum over states, the norm of each head, then the gate."""
        o = o.unflatten(-2, (1 + self.partitions, self.heads)).sum(-3)
        return self.norm(o, self.gate(gate).unflatten(-1, o.shape[-2:])).flatten(-2)

    def initial_state(self, batch: int) -> State:
        """No memory in any state."""
        state = super().initial_state(batch)
        return {**state, "memory": state["memory"].repeat(1, 1 + self.partitions, 1, 1)}

    def cost(self) -> PartCost:
        """All states are kept; a token updates and reads two of them."""
        cost, rows, columns = super().cost(), self.key_size, self.value_size
        elements = self.heads * rows * columns
        return replace(
            cost,
            state_elements=(1 + self.partitions) * elements,
            idle_elements=(1 + self.partitions - TOUCHED) * elements,
            decode_flops=TOUCHED * 5.0 * elements,
            prefill_flops=TOUCHED * (4.0 * elements + CHUNK * self.heads * (rows + columns)),
        )
