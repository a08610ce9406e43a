"""Softmax attention over the last tokens only."""

from search_space.mixers.attention import Attention
from search_space.parts.heads import Windowed


class SlidingWindow(Windowed, Attention):
    """Attention over a window of the last tokens (2004.05150, causal).

    Args:
        dims: sizes of the model.
        window: tokens that a token sees, itself included; the default is Samba's (2406.07522).
        options: those of `Attention`.

    Raises:
        InputError: a window that is not a positive integer, and as `Attention`.
    """

    source = "Longformer: The Long-Document Transformer (arXiv 2004.05150)"
