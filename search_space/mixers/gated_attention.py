"""Softmax attention with a gate on its output."""

from typing import Any

from torch import Tensor, nn

from search_space.mixers.attention import Attention
from search_space.parts.base import Dims


class GatedAttention(Attention):
    """Attention whose heads are each scaled by a sigmoid of the input (2505.06708, the head-wise gate).

    Args:
        dims: sizes of the model.
        options: those of `Attention`.

    Raises:
        InputError: as `Attention`.
    """

    source = "Gated Attention for Large Language Models (arXiv 2505.06708)"

    def __init__(self, dims: Dims, **options: Any):
        super().__init__(dims, **options)
        self.gate = nn.Linear(dims.width, self.heads, bias=False)

    def read(self, o: Tensor, x: Tensor) -> Tensor:
        """Output [..., D] from what each head read, scaled by its gate."""
        return super().read(o * self.gate(x).sigmoid().unsqueeze(-1), x)
