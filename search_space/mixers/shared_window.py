"""Softmax attention over the last tokens only, which reads keys and values of a layer below."""

from search_space.mixers.shared_attention import SharedAttention
from search_space.parts.heads import Windowed


class SharedWindow(Windowed, SharedAttention):
    """`shared_attention` over a window: of the nearest `sliding_window` below with the same heads, sizes and window.

    Hymba (2411.13676, section 2.3) so shares keys and values between pairs of neighbouring layers.

    Args:
        dims: sizes of the model.
        window: tokens that a token sees, itself included; that of the layer below. The default is that of
            `sliding_window`.
        options: those of `SharedAttention`.

    Raises:
        InputError: a window that is not a positive integer, and as `SharedAttention`.
    """

    source = "Hymba: A Hybrid-head Architecture for Small Language Models (arXiv 2411.13676)"
