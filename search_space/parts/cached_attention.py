"""The body of attention mixers that read new tokens together with what their state keeps.

Shapes: B sequences, T tokens, D model width, H heads, V value size, F features of the input projection.
"""

from abc import abstractmethod
from typing import Any

from torch import Tensor

from search_space.errors import InputError
from search_space.mixers.attention import Attention
from search_space.parts.base import Dims, KeysForm, State


def own_keys(keys_from: str) -> None:
    """Raises InputError for keys and values of embeddings, where a mixer works on those of its layer's input."""
    if keys_from != "layer":
        raise InputError("keys_from", keys_from, "layer: only plain, gated and windowed attention have others")


class CachedAttention(Attention):
    """Attention of which a mixer only says what heads read (`attended`), of a sequence and of a single token alike.

    Its keys come from the layer's input, and are no other layer's business: it keeps not all of them, or more.

    Args:
        dims: sizes of the model.
        options: those of `Attention`, but for `keys_from`.

    Raises:
        InputError: as `Attention`.
    """

    offers: tuple[KeysForm, ...] = ()

    def __init__(self, dims: Dims, **options: Any):
        super().__init__(dims, **options)
        own_keys(self.keys_from)

    @abstractmethod
    def attended(self, features: Tensor, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """What each head reads [B, T, H, V], and the state after, but for the convolution's.

        Args:
            features: queries, keys and values behind the convolution [B, T, F].
            x: inputs of the layer [B, T, D].
            state: before the first token; None where nothing came before.
        """

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:  # type: ignore[override]
        """Mixes x [B, T, D]; see `Mixer.forward`."""
        features, conv = self.conv(self.input(x), state["conv"] if state else None)
        o, new = self.attended(features, x, state)
        return self.read(o, x), {**new, "conv": conv}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:  # type: ignore[override]
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        features, conv = self.conv.step(self.input(x), state["conv"])
        o, new = self.attended(features.unsqueeze(1), x.unsqueeze(1), state)
        return self.read(o.squeeze(1), x), {**new, "conv": conv}
