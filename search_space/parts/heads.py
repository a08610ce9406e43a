"""The sizes of attention's heads."""

from abc import ABC
from typing import Any

from search_space import limits
from search_space.checks import head_size, positive, rotary_base
from search_space.errors import InputError
from search_space.parts.base import Dims, KeysForm, Mixer, Scaling


class AttentionHeads(Mixer, ABC):
    """A mixer with query heads, and keys and values that groups of them share.

    Args:
        dims: sizes of the model.
        heads: query heads; None means those of the model.
        kv_heads: key-value heads; None means those of the model, or `heads` where that is given.
        key_size: of each head, even where there are positions; None means width / heads.
        value_size: of each head; None means width / heads.
        rope_theta: base of the rotary wavelengths; None means no positions.

    Class attributes:
        window: tokens that a token sees, itself included; None means all before it.

    Raises:
        InputError: sizes that are not positive integers, do not divide, or an odd key size.
    """

    scaled = {
        "heads": Scaling.ATTENTION_HEADS,
        "kv_heads": Scaling.ATTENTION_HEADS,
        "key_size": Scaling.ATTENTION_HEAD_SIZE,
        "value_size": Scaling.ATTENTION_HEAD_SIZE,
    }
    window: int | None = None

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        kv_heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        rope_theta: float | None = 10000.0,
    ):
        super().__init__()
        if kv_heads is None:
            kv_heads = dims.kv_heads if heads is None else heads
        self.heads = positive("heads", dims.heads if heads is None else heads)
        self.kv_heads = positive("kv_heads", self.heads if kv_heads is None else kv_heads)
        if self.heads % self.kv_heads:
            raise InputError("kv_heads", self.kv_heads, f"a divisor of heads={self.heads}")
        self.key_size = head_size("key_size", key_size, self.heads, dims.width)
        self.value_size = head_size("value_size", value_size, self.heads, dims.width)
        self.rope_theta = None if rope_theta is None else rotary_base(rope_theta, self.key_size)

    @property
    def form(self) -> KeysForm:
        """That of its keys and values."""
        return KeysForm(
            heads=self.heads,
            kv_heads=self.kv_heads,
            key_size=self.key_size,
            value_size=self.value_size,
            rope_theta=self.rope_theta,
            window=self.window,
        )


class Windowed(AttentionHeads, ABC):
    """Ahead of a mixer of attention among the bases of a class: it sees the last tokens only.

    Args:
        dims: sizes of the model.
        window: tokens that a token sees, itself included; the default is Samba's (2406.07522).
        options: those of the mixer.

    Raises:
        InputError: a window that is not a positive integer, and as the mixer.
    """

    family = "window"
    scaled = {**AttentionHeads.scaled, "window": Scaling.LENGTH}

    def __init__(self, dims: Dims, *, window: int = 2048, **options: Any):
        super().__init__(dims, **options)
        self.window = positive("window", window, limits.TOKENS)
