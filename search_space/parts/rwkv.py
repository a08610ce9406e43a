"""What the mixers of RWKV share.

Shapes: B sequences, T tokens, D model width, H heads, V value size; "..." is B, T (in a step: B).
"""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.checks import head_size, positive
from search_space.parts.base import Dims, Mixer, PartCost, Scaling, State

NEAR_ZERO = 1e-4
"""Bound of what the papers start at zero, so that both factors of a low-rank map learn from the first step on."""
SMALL = 0.01
"""Bound of the second factors of low-rank maps at the start."""


@dataclass(frozen=True)
class Place:
    """Where a layer stands in its model, as initial values depend on it.

    Args:
        down: 0 in the first layer, 1 in the last.
        up: 1 in the first layer, 1 / layers in the last.
        ramp: 0 .. 1 over the D channels, [D]: i / D.
    """

    down: float
    up: float
    ramp: Tensor

    @classmethod
    def of(cls, dims: Dims) -> "Place":
        """That of a part."""
        down = dims.layer / (dims.layers - 1) if dims.layers > 1 else 0.0
        return cls(down, 1 - dims.layer / dims.layers, torch.arange(dims.width) / dims.width)


def later(x: Tensor, last: Tensor | None = None) -> Tensor:
    """x [B, T, ...] a token later: what each token has before it, from `last` [B, ...] or zeros on."""
    first = torch.zeros_like(x[:, :1]) if last is None else last.unsqueeze(1)
    return torch.cat([first, x[:, :-1]], 1)


class HeadNorm(nn.Module):
    """A layer norm of each head, with gains and biases for all values (GroupNorm of the papers).

    Args:
        heads: H.
        size: V; the norm's eps is 1e-5 times that, 64e-5 for heads of 64.
    """

    def __init__(self, heads: int, size: int):
        super().__init__()
        self.eps = 1e-5 * size
        self.weight = nn.Parameter(torch.ones(heads * size))
        self.bias = nn.Parameter(torch.zeros(heads * size))

    def forward(self, x: Tensor) -> Tensor:
        """x [..., H, V] -> [..., H V]."""
        y = F.layer_norm(x, x.shape[-1:], eps=self.eps).flatten(-2)
        return (y * self.weight + self.bias).to(x.dtype)


class TimeMixing(Mixer):
    """Reads each token together with the one before it, updates a state [H, K, V], norms, gates and projects back.

    Args:
        dims: sizes of the model, and the place in it.
        heads: H; None means one for every 64 of the width.
        key_size: K, of each head; None means width / heads.
        value_size: V, of each head; None means width / heads.
    """

    scaled = {
        "heads": Scaling.HEADS,
        "key_size": Scaling.HEAD_SIZE,
        "value_size": Scaling.HEAD_SIZE,
        "decay_rank": Scaling.WIDTH,
    }

    def __init__(self, dims: Dims, heads: int | None, key_size: int | None, value_size: int | None):
        super().__init__()
        self.width = dims.width
        self.heads = positive("heads", max(1, dims.width // 64) if heads is None else heads)
        self.key_size = head_size("key_size", key_size, self.heads, dims.width)
        self.value_size = head_size("value_size", value_size, self.heads, dims.width)
        self.norm = HeadNorm(self.heads, self.value_size)
        self.output = nn.Linear(self.heads * self.value_size, dims.width, bias=False)

    @abstractmethod
    def features(self, x: Tensor, delta: Tensor) -> tuple[Tensor, ...]:
        """What the recurrence takes, then the gate [..., H V].

        Args:
            x: [..., D].
            delta: the tokens before minus x.
        """

    @abstractmethod
    def recur(self, features: tuple[Tensor, ...], memory: Tensor | None) -> tuple[Tensor, Tensor]:
        """What is read, [B, T, H V], normed, and the memory after a whole sequence."""

    @abstractmethod
    def recur_step(self, features: tuple[Tensor, ...], memory: Tensor) -> tuple[Tensor, Tensor]:
        """The same for a single token."""

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D]; see `Mixer.forward`."""
        *features, gate = self.features(x, later(x, state["last"] if state else None) - x)
        y, memory = self.recur(tuple(features), state["memory"] if state else None)
        return self.output(y * gate), {"memory": memory, "last": x[:, -1]}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        *features, gate = self.features(x, state["last"] - x)
        y, memory = self.recur_step(tuple(features), state["memory"])
        return self.output(y * gate), {"memory": memory, "last": x}

    def initial_state(self, batch: int) -> State:
        """No memory, and zeros for the token before the first; the memory is float32 at least."""
        weight = self.output.weight
        precision = torch.promote_types(weight.dtype, torch.float32)
        memory = weight.new_zeros(batch, self.heads, self.key_size, self.value_size, dtype=precision)
        return {"memory": memory, "last": weight.new_zeros(batch, self.width)}

    def priced(self, decode: float, prefill: float) -> PartCost:
        """The state, the token before, and FLOPs a token."""
        return PartCost(
            **self.weights(),
            state_elements=self.heads * self.key_size * self.value_size,
            conv_elements=self.width,
            decode_flops=decode,
            prefill_flops=prefill,
        )

    def by_head(self, x: Tensor) -> Tensor:
        """[..., H size] -> [..., H, size]."""
        return x.unflatten(-1, (self.heads, -1))


class LowRank(nn.Module):
    """W_2 f(W_1 x) + c with W_1 near zero at the start.

    Args:
        inputs: of W_1.
        rank: of the map.
        outputs: of W_2.
        bias: initial c; None means no bias.
        activation: f; None means none.
    """

    def __init__(self, inputs: int, rank: int, outputs: int, bias: Tensor | None, activation: str | None):
        super().__init__()
        self.first, self.second = nn.Linear(inputs, rank, bias=False), nn.Linear(rank, outputs, bias=bias is not None)
        self.activation = activation
        nn.init.uniform_(self.first.weight, -NEAR_ZERO, NEAR_ZERO)
        if bias is not None:
            self.second.bias.data.copy_(bias)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., inputs] -> [..., outputs]."""
        low = self.first(x)
        return self.second(getattr(torch, self.activation)(low) if self.activation else low)
