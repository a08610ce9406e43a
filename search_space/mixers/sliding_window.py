"""Softmax attention over the last tokens only."""

from typing import Any

from search_space import limits
from search_space.checks import positive
from search_space.mixers.attention import Attention
from search_space.parts.base import Dims, Scaling


class SlidingWindow(Attention):
    """Attention over a window of the last tokens (2004.05150, causal).

    Args:
        dims: sizes of the model.
        window: tokens that a token sees, itself included; the default is Samba's (2406.07522).
        options: those of `Attention`.

    Raises:
        InputError: a window that is not a positive integer, and as `Attention`.
    """

    source = "Longformer: The Long-Document Transformer (arXiv 2004.05150)"
    family = "window"

    scaled = {**Attention.scaled, "window": Scaling.LENGTH}

    def __init__(self, dims: Dims, *, window: int = 2048, **options: Any):
        super().__init__(dims, **options)
        self.window = positive("window", window, limits.TOKENS)
