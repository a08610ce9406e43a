"""Softmax attention over the last tokens only."""

from typing import Any

from search_space.mixers.attention import Attention
from search_space.mixers.base import Dims
from search_space.mixers.options import positive


class SlidingWindow(Attention):
    """Attention over a window of the last tokens (2004.05150, causal).

    Args:
        dims: sizes of the model.
        window: tokens that a token sees, itself included; by default as many as in Samba (2406.07522).
        options: those of `Attention`.

    Raises:
        InputError: a window that is not a positive integer, and as `Attention`.
    """

    source = "Longformer: The Long-Document Transformer (arXiv 2004.05150)"
    state_formula = "kv_heads x (key_size + value_size) x min(context, window)"
    flops_formula = "2 x heads x (key_size + value_size) x min(context, window)"

    def __init__(self, dims: Dims, *, window: int = 2048, **options: Any):
        super().__init__(dims, **options)
        self.window = positive("window", window)
