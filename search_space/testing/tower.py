"""Mixers one above the other, as one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from search_space.parts.base import Below, Mixer, PartCost, State
from search_space.parts.below import connect


class Tower(Mixer):
    """Layers of mixers alone, whose input stands for the token embeddings: what reads from below has something to read.

    Each adds its output to its input; that of the last is the output of all. A token is the first element of its input,
    in bits: by it an input that came before is found again.

    Args:
        mixers: first layer first. They are connected here.
    """

    def __init__(self, mixers: Sequence[Mixer]):
        super().__init__()
        connect(mixers)
        self.mixers: Any = nn.ModuleList(mixers)
        self._inputs: list[Tensor] = []
        self.source, self.family = mixers[-1].source, mixers[-1].family  # type: ignore[misc]

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D]; see `Mixer.forward`."""
        return self._climb(x, state, list(self.mixers))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        return self._climb(x, state, [mixer.step for mixer in self.mixers])

    def _climb(self, x: Tensor, state: State | None, calls: Sequence[Any]) -> tuple[Tensor, State]:
        self._inputs.append(x.flatten(0, -2))
        below, new, y = Below(x, _token(x), self._embed), {}, x
        for i, (mixer, call) in enumerate(zip(self.mixers, calls, strict=True)):
            y, new[str(i)] = call(x, state and state[str(i)], *([below] if mixer.takes_below else []))
            below.rise()
            x = x + y
        return y, new

    def _embed(self, tokens: Tensor) -> Tensor:
        """The inputs [..., D] of tokens [...] that came in so far."""
        known = torch.cat(self._inputs)
        return known[(tokens.unsqueeze(-1) == _token(known)).int().argmax(-1)]

    def initial_state(self, batch: int) -> State:
        """The states of the layers, by their numbers."""
        return {str(i): mixer.initial_state(batch) for i, mixer in enumerate(self.mixers)}

    def state_after(self, batch: int, context: int) -> State:
        """Those of the layers."""
        return {str(i): mixer.state_after(batch, context) for i, mixer in enumerate(self.mixers)}

    def zero_output(self) -> None:
        """Zeroes that of the last layer."""
        self.mixers[-1].zero_output()

    @classmethod
    def share(cls, mixers: Sequence["Tower"]) -> None:
        """What each layer shares over depth."""
        for same in zip(*(mixer.mixers for mixer in mixers), strict=True):
            type(same[0]).share(same)

    def cost(self) -> PartCost:
        """The sum over the layers."""
        return PartCost.total(mixer.cost() for mixer in self.mixers)


def _token(x: Tensor) -> Tensor:
    return x[..., 0].detach().float().view(torch.int32).long()
