"""What a layer may read beside its own input: tokens and their embeddings, and keys and values of layers below it.

Shapes: B sequences, P cached tokens, T new tokens, D model width, G key-value heads, K key size, V value size.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

KeysAndValues = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class KeysForm:
    """Which keys and values a layer keeps, or reads of a layer below: it reads those of its own form.

    Args:
        heads: query heads; where they differ, proxies of the two layers may have other key-value heads.
        kv_heads: key-value heads G.
        key_size: K.
        value_size: V.
        rope_theta: base of the rotary wavelengths that keys were turned by; None means no positions.
        window: tokens that are kept; None means all.
        of: the kind of layer that keeps them.
    """

    heads: int
    kv_heads: int
    key_size: int
    value_size: int
    rope_theta: float | None
    window: int | None
    of: str = "softmax attention"

    def __str__(self) -> str:
        theta = "null" if self.rope_theta is None else f"{self.rope_theta:g}"
        sizes = f"heads={self.heads}, kv_heads={self.kv_heads}, key_size={self.key_size}, value_size={self.value_size}"
        return f"{sizes}, rope_theta={theta} and {'no window' if self.window is None else f'window={self.window}'}"


class Below:
    """What lies below the layer that runs. The model makes one at every call, and each layer hands it on to the next.

    Args:
        embeddings: of the new tokens, [B, T, D], or [B, D] in a step.
        tokens: these themselves, [B, T] or [B]; None where there are embeddings alone.
        embed: tokens [...] -> their embeddings [..., D].
    """

    def __init__(
        self, embeddings: Tensor, tokens: Tensor | None = None, embed: Callable[[Tensor], Tensor] | None = None
    ):
        self.embeddings, self.tokens, self.embed = embeddings, tokens, embed
        self._found: dict[KeysForm, KeysAndValues] = {}
        self._offered: dict[KeysForm, KeysAndValues] = {}

    def offer(self, form: KeysForm, keys: Tensor, values: Tensor) -> None:
        """Shows layers above the keys [B, P + T, G, K] and values [B, P + T, G, V] that this layer reads itself."""
        self._offered[form] = keys, values

    def read(self, form: KeysForm) -> KeysAndValues:
        """Keys and values of the nearest layer below that has them in that form."""
        return self._found[form]

    def rise(self) -> None:
        """On to the next layer: what this one offered lies below from now on."""
        self._found |= self._offered
        self._offered = {}


def blank(mixer: Any, x: Tensor, tokens: int) -> Below:
    """Zeros in the place of all that a mixer reads from below, for measurements.

    Args:
        mixer: that will run by itself.
        x: its input, [B, T, D] or [B, D].
        tokens: so far, those of x included.
    """
    ids = x.new_zeros(x.shape[:-1], dtype=torch.long)
    below = Below(torch.zeros_like(x), ids, lambda ids: x.new_zeros(*ids.shape, x.shape[-1]))
    for form in mixer.reads:
        kept = tokens if form.window is None else min(tokens, form.window + (x.shape[1] if x.dim() == 3 else 1) - 1)
        shape = x.shape[0], kept, form.kv_heads
        below.offer(form, x.new_zeros(*shape, form.key_size), x.new_zeros(*shape, form.value_size))
    below.rise()
    return below


Forms = tuple[Sequence[KeysForm], Sequence[KeysForm]]
"""What a layer offers to those above, and what it reads of those below."""


def unmet(layers: Iterable[Forms]) -> list[tuple[int, KeysForm]]:
    """Layers that read what none below them offers, first layer first, each with what it reads."""
    offered: set[KeysForm] = set()
    found = []
    for place, (offers, reads) in enumerate(layers):
        found += [(place, form) for form in reads if form not in offered]
        offered.update(offers)
    return found


def connect(mixers: Sequence[Any]) -> None:
    """Tells each layer whose keys and values are read above that it has to offer them.

    Args:
        mixers: of a model, first layer first, for which `unmet` finds nothing; None where a layer has none.
    """
    for place, reader in enumerate(mixers):
        for form in () if reader is None else reader.reads:
            next(m for m in reversed(mixers[:place]) if m is not None and form in m.offers).lend(form)
