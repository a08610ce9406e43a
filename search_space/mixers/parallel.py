"""Several mixers side by side in one layer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from search_space.errors import InputError, one_of
from search_space.parts.base import Below, Dims, KeysForm, Mixer, PartCost, State
from search_space.parts.build import build_mixer
from search_space.parts.nn import RMSNorm
from search_space.parts.part import Part

DEFAULT = (Part("attention"), Part("gated_deltanet"))
COMBINE = ["mean", "sum"]


class Parallel(Mixer):
    """Mixers that read one input; their outputs are averaged or summed (Hymba, 2411.13676; Falcon-H1, 2507.22448).

    Hymba's heads share their input and output projections; here each branch has its own, as in Falcon-H1.

    Args:
        dims: sizes of the model.
        branches: the mixers, two or more: names, or {mixer: ..., option: value}. By default attention beside a
            recurrence.
        combine: mean or sum.
        norm: whether the output of each branch passes an RMS norm of its own first, as in Hymba.

    Raises:
        InputError: fewer than two branches, or one that cannot be built.
    """

    source = "Hymba: A Hybrid-head Architecture for Small Language Models (arXiv 2411.13676)"
    family = "mixed"

    def __init__(self, dims: Dims, *, branches: Sequence[Part] = DEFAULT, combine: str = "mean", norm: bool = True):
        super().__init__()
        if not isinstance(branches, tuple) or len(branches) < 2:
            raise InputError("branches", branches, "a list of mixers, two or more")
        if combine not in COMBINE:
            raise InputError("combine", combine, one_of(combine, COMBINE))
        if not isinstance(norm, bool):
            raise InputError("norm", norm, "true or false")
        self.branches = nn.ModuleList(build_mixer(b, dims, f"branches[{i}]") for i, b in enumerate(branches))
        self.norms = nn.ModuleList(RMSNorm(dims.width) if norm else nn.Identity() for _ in branches)
        self.share_of_each = 1 / len(branches) if combine == "mean" else 1.0

    def forward(self, x: Tensor, state: State | None = None, below: Below | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D]; see `Mixer.forward`."""
        inputs = [(x, state and state[str(i)], *self._seen(b, below)) for i, b in enumerate(self.branches)]
        return self._combined([b(*each) for b, each in zip(self.branches, inputs, strict=True)])

    def step(self, x: Tensor, state: State, below: Below | None = None) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        inputs = [(x, state[str(i)], *self._seen(b, below)) for i, b in enumerate(self.branches)]
        return self._combined([b.step(*each) for b, each in zip(self.branches, inputs, strict=True)])  # type: ignore[operator]

    @staticmethod
    def _seen(branch: Any, below: Below | None) -> list[Below | None]:
        return [below] if branch.takes_below else []

    @property
    def takes_below(self) -> bool:  # type: ignore[override]
        """Whether a branch does."""
        return any(branch.takes_below for branch in self.branches)

    @property
    def reads(self) -> tuple[KeysForm, ...]:  # type: ignore[override]
        """What the branches read of layers below; none reads of one beside it."""
        return tuple(form for branch in self.branches for form in branch.reads)  # type: ignore[union-attr]

    @property
    def offers(self) -> tuple[KeysForm, ...]:  # type: ignore[override]
        """What the branches keep."""
        return tuple(form for branch in self.branches for form in branch.offers)  # type: ignore[union-attr]

    def lend(self, form: KeysForm) -> None:
        """Asks the last branch that keeps it."""
        next(branch for branch in reversed(self.branches) if form in branch.offers).lend(form)  # type: ignore

    def _combined(self, found: list[tuple[Tensor, State]]) -> tuple[Tensor, State]:
        y = torch.stack([norm(y) for norm, (y, _) in zip(self.norms, found, strict=True)]).sum(0)
        return self.share_of_each * y, {str(i): state for i, (_, state) in enumerate(found)}

    def initial_state(self, batch: int) -> State:
        """The states of the branches, by their numbers."""
        return {str(i): b.initial_state(batch) for i, b in enumerate(self.branches)}  # type: ignore[operator]

    def state_after(self, batch: int, context: int) -> State:
        """Those of the branches."""
        return {str(i): b.state_after(batch, context) for i, b in enumerate(self.branches)}  # type: ignore[operator]

    def zero_output(self) -> None:
        """Zeroes the gains of the norms, where there are any: the norm of a zero output has no useful gradient."""
        for branch, norm in zip(self.branches, self.norms, strict=True):
            if isinstance(norm, RMSNorm):
                nn.init.zeros_(norm.weight)
            else:
                branch.zero_output()  # type: ignore[operator]

    def open_gates(self) -> None:
        """Those of the branches."""
        for branch in self.branches:
            branch.open_gates()  # type: ignore[operator]

    @classmethod
    def share(cls, mixers: Sequence["Parallel"]) -> None:
        """What each branch shares over depth."""
        for same in zip(*(mixer.branches for mixer in mixers), strict=True):
            type(same[0]).share(same)  # type: ignore[attr-defined]

    def cost(self) -> PartCost:
        """The sum over the branches, and the norms."""
        norms = PartCost(parameters=sum(p.numel() for p in self.norms.parameters()), product_flops=0.0)
        return PartCost.total([*(branch.cost() for branch in self.branches), norms])  # type: ignore[operator]
