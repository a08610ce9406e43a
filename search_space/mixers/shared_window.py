"""Softmax attention over the last tokens only, which reads keys and values of a layer below."""

from typing import Any

from search_space import limits
from search_space.checks import positive
from search_space.mixers.shared_attention import SharedAttention
from search_space.parts.base import Dims, Scaling


class SharedWindow(SharedAttention):
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
    family = "window"

    scaled = {**SharedAttention.scaled, "window": Scaling.LENGTH}

    def __init__(self, dims: Dims, *, window: int = 2048, **options: Any):
        super().__init__(dims, **options)
        self.window = positive("window", window, limits.TOKENS)
