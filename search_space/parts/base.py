"""What every token mixer and every channel mixer provides.

Shapes: B sequences, T tokens, D model width.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from torch import Tensor, nn

from search_space.parts.below import Below, KeysForm, blank
from search_space.parts.costs import Cache, Experts, PartCost
from search_space.parts.nn import BlockLinear, open_gates

__all__ = [
    "Below",
    "Cache",
    "ChannelMixer",
    "Dims",
    "Experts",
    "KeysForm",
    "LayerPart",
    "Mixer",
    "PartCost",
    "Scaling",
    "State",
    "state_elements",
]
State = dict[str, Any]
"""What a mixer remembers of the tokens so far: tensors, all with the batch first, and ints."""


@dataclass(frozen=True, kw_only=True)
class Dims:
    """What a part knows of the model around it.

    Args:
        width: model width D.
        heads: query heads of the attention layers.
        kv_heads: key-value heads of the attention layers; None means as many as `heads`.
        mlp_width: hidden width of a channel mixer whose options do not say otherwise; None means D.
        layer: index of the part's layer, from 0.
        layers: depth of the model.
    """

    width: int
    heads: int
    kv_heads: int | None = None
    mlp_width: int | None = None
    layer: int = 0
    layers: int = 1


class Scaling(Enum):
    """How an option shrinks from the target to the proxy; search_space/scale.py holds the rule."""

    HEADS = "heads of a matrix state"
    HEAD_SIZE = "size of a key or value in a matrix state"
    ATTENTION_HEADS = "heads that keep keys and values of every token"
    ATTENTION_HEAD_SIZE = "size of such a key or value"
    WIDTH = "in proportion to the width of the model"
    MLP_RATIO = "hidden width of a channel mixer over the width of the model"
    EXPERTS = "experts of a channel mixer"
    EXPERTS_USED = "experts that a token uses"
    EXPERT_RATIO = "hidden width of each expert over the width of the model"
    LENGTH = "tokens, in proportion to the length of a sequence"
    FILTER = "taps of a long convolution, as published up to a share of a sequence"


class LayerPart(nn.Module, ABC):
    """What mixers and channel mixers have in common.

    Class attributes:
        source: the paper (title, arXiv number) that the part follows; empty where it is not stated.
        scaled: option -> how it shrinks to the proxy. Each is also an attribute that holds the size which the part
            was built with, or None where it was built without. What is not named here is the same at both scales.
    """

    source: ClassVar[str] = ""
    scaled: ClassVar[Mapping[str, Scaling]] = {}

    @abstractmethod
    def cost(self) -> PartCost:
        """Cost of this part at its sizes; works on the meta device."""

    def zero_output(self) -> None:
        """Makes the part answer with zeros, as it may at the start of training."""
        for parameter in self.output.parameters():  # type: ignore[union-attr]
            nn.init.zeros_(parameter)

    def open_gates(self) -> None:
        """Lets gates start open, as proxies need that are trained for some hundred steps: those of outputs at 1."""
        open_gates(self)

    def weights(self) -> dict[str, Any]:
        """`parameters` and `product_flops` as `PartCost` wants them; products are `nn.Linear` and `BlockLinear`."""
        products = sum(m.weight.numel() for m in self.modules() if isinstance(m, nn.Linear | BlockLinear))
        return {"parameters": sum(p.numel() for p in self.parameters()), "product_flops": 2.0 * products}


class Mixer(LayerPart):
    """A token mixer: maps [B, T, D] to [B, T, D], and no output depends on a later token.

    A mixer is one file that subclasses this, and one line in the catalogue (`search_space/mixers/__init__.py`);
    docs/adding-a-mixer.md goes through one. Subclasses take `dims: Dims` first and keyword options after it,
    every option with a default that follows the mixer's paper; options that mean the same have the same name
    everywhere (`heads`, `key_size` and `value_size` of a head, `conv`). Their last projection is an
    `nn.Linear` called `output`; one that is built otherwise overrides `zero_output`. Their `forward` runs under
    `torch.vmap` (no branch on what a tensor holds), so that several seeds can be trained as one stack.
    `search_space.testing.MixerContract` is the suite that every mixer passes, a user's own included.

    A few read more than their input (`search_space.parts.below`). Where `takes_below` is true, `forward` and `step` are
    called with a `Below` as a third argument.

    Class attributes:
        family: what it remembers, one of `search_space.parts.families.FAMILIES`; `family:NAME` stands for all of a
            family where mixers are listed.
        takes_below: whether it wants to know what lies below its layer; may be a property.
        reads: the keys and values that a layer below has to keep for it; may be a property.
        offers: those that it keeps and could show to layers above; may be a property.
    """

    family: ClassVar[str] = ""
    takes_below: bool = False
    reads: tuple[KeysForm, ...] = ()
    offers: tuple[KeysForm, ...] = ()

    @abstractmethod
    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D], continuing from `state`; returns the output [B, T, D] and the new state."""

    @abstractmethod
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; same numbers as `forward` on the whole sequence."""

    @abstractmethod
    def initial_state(self, batch: int) -> State:
        """The state before the first token, on the device and in the dtype of the parameters."""

    def lend(self, form: KeysForm) -> None:
        """Called where a layer above reads what this one `offers` in that form: from now on it puts it into `Below`."""
        raise NotImplementedError(f"{type(self).__name__} offers no keys and values")

    def state_after(self, batch: int, context: int) -> State:
        """A state of `context` tokens, for measurements: what grows with tokens is filled up with zeros.

        The default finds out what grows from short inputs, and takes the window from `cost`.
        """
        weight = next(self.parameters())
        width: Any = self.output.out_features  # type: ignore[union-attr]
        few, more = (self._state_of(weight.new_zeros(1, tokens, width)) for tokens in (2, 3))
        kept = max((cache.kept(context) for cache in self.cost().caches), default=0)
        state: State = {}
        for name, value in more.items():
            if not isinstance(value, Tensor):
                state[name] = context
            elif value.shape[1:] != few[name].shape[1:]:
                state[name] = value.new_zeros(batch, kept, *value.shape[2:])
            else:
                state[name] = value.new_zeros(batch, *value.shape[1:])
        return state

    def _state_of(self, x: Tensor) -> State:
        return self(x, None, *([blank(self, x, x.shape[1])] if self.takes_below else []))[1]

    @classmethod
    def share(cls, mixers: Sequence[Any]) -> None:
        """Ties parameters over depth; the default ties none.

        Args:
            mixers: all of a model's layers of this mixer that have the same options, first layer first.
        """


class ChannelMixer(LayerPart):
    """A channel mixer: maps each token's [..., D] by itself, as an MLP does.

    A channel mixer is one file that subclasses this, and one line in the catalogue
    (`search_space/channel_mixers/__init__.py`). It takes `dims: Dims` first and keyword options after it, and its
    last projection is an `nn.Linear` called `output`.
    """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Maps [..., D] to [..., D]."""


def state_elements(state: Mapping[str, Any]) -> int:
    """Number of elements held by a state, all sequences together; states may be nested."""
    return sum(
        state_elements(x) if isinstance(x, Mapping) else x.numel()
        for x in state.values()
        if isinstance(x, Tensor | Mapping)
    )
