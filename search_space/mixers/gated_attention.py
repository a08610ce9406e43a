"""Softmax attention with a gate on its output."""

from typing import Any

from torch import Tensor, nn

from search_space.errors import InputError, one_of
from search_space.mixers.attention import Attention
from search_space.parts.base import Dims

GATES = ["head", "element"]


class GatedAttention(Attention):
    """Attention whose output is scaled by a sigmoid of the input (2505.06708), a gate for each head or each element.

    Qwen3-Next has a gate for each element, and `qk_norm`.

    Args:
        dims: sizes of the model.
        gate: head or element.
        options: those of `Attention`.

    Raises:
        InputError: an unknown gate, and as `Attention`.
    """

    source = "Gated Attention for Large Language Models (arXiv 2505.06708)"

    def __init__(self, dims: Dims, *, gate: str = "head", **options: Any):
        super().__init__(dims, **options)
        if gate not in GATES:
            raise InputError("gate", gate, one_of(gate, GATES))
        self.gate = nn.Linear(dims.width, self.heads * (self.value_size if gate == "element" else 1), bias=False)

    def read(self, o: Tensor, x: Tensor) -> Tensor:
        """Output [..., D] from what each head read, scaled by its gates."""
        return super().read(o * self.gate(x).sigmoid().unflatten(-1, (self.heads, -1)), x)
