"""What every token mixer provides.

Shapes: B sequences, T tokens, D model width.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

State = dict[str, Any]
"""What a mixer remembers of the tokens so far: tensors, all with the batch first, and ints."""


@dataclass(frozen=True, kw_only=True)
class Dims:
    """Sizes that the model around a mixer fixes.

    Args:
        width: model width D.
        heads: query heads of the attention layers.
        kv_heads: key-value heads of the attention layers; None means as many as `heads`.
    """

    width: int
    heads: int
    kv_heads: int | None = None


@dataclass(frozen=True, kw_only=True)
class MixerCost:
    """What one layer of a mixer costs, per sequence and token, as plain numbers.

    The cost model turns these into bytes and seconds for a batch, a context and a device.

    Args:
        parameters: all parameters of the layer.
        matrix_parameters: those that multiply every token (2 FLOPs each): projection matrices.
        context_elements: cache elements that each token of context adds (keys and values).
        window: most tokens of context that are kept; None means all.
        state_elements: recurrent state elements, kept in fp32, read and written at every step.
        conv_elements: cached inputs of the short convolutions.
        decode_flops: FLOPs of one decode step beside the projections, whatever the context.
        decode_flops_per_context: further FLOPs of one decode step for each token of context kept.
        prefill_flops: FLOPs a token beside the projections when a whole sequence is processed (chunkwise).
            Attention's share that grows with the context is derived from `decode_flops_per_context`.
    """

    parameters: int
    matrix_parameters: int
    context_elements: int = 0
    window: int | None = None
    state_elements: int = 0
    conv_elements: int = 0
    decode_flops: float = 0.0
    decode_flops_per_context: float = 0.0
    prefill_flops: float = 0.0


class Mixer(nn.Module, ABC):
    """A token mixer: maps [B, T, D] to [B, T, D], and no output depends on a later token.

    A mixer is one file that subclasses this, and one line in the catalogue
    (`search_space/mixers/__init__.py`). Subclasses take `dims: Dims` first and keyword options after it,
    every option with a default that follows the mixer's paper; options that mean the same have the same name
    everywhere (`heads`, `key_size` and `value_size` of a head, `conv`). Their last projection is an
    `nn.Linear` called `output`: the model around a mixer initialises it. Their `forward` runs under
    `torch.vmap` (no branch on what a tensor holds), so that several seeds can be trained as one stack.
    `tests/mixer_contract.py` holds the suite that every mixer passes, a user's own included.

    Class attributes:
        source: the paper (title, arXiv number) that the mixer follows.
        state_formula: the memory that a sequence needs, for people.
        flops_formula: decode FLOPs beside the projections, for people.
    """

    source: ClassVar[str]
    state_formula: ClassVar[str]
    flops_formula: ClassVar[str]

    @abstractmethod
    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D], continuing from `state`; returns the output [B, T, D] and the new state."""

    @abstractmethod
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; same numbers as `forward` on the whole sequence."""

    @abstractmethod
    def initial_state(self, batch: int) -> State:
        """The state before the first token, on the device and in the dtype of the parameters."""

    @abstractmethod
    def cost(self) -> MixerCost:
        """Cost of this layer at its sizes; works on the meta device."""

    def parameter_counts(self) -> dict[str, int]:
        """`parameters` and `matrix_parameters` as `MixerCost` wants them: the 2-D ones are matrices."""
        return {
            "parameters": sum(p.numel() for p in self.parameters()),
            "matrix_parameters": sum(p.numel() for p in self.parameters() if p.dim() == 2),
        }


def state_elements(state: State) -> int:
    """Number of elements held by a state, all sequences together."""
    return sum(t.numel() for t in state.values() if isinstance(t, Tensor))
