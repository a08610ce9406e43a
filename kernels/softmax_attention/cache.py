"""Keys and values of the tokens so far, in buffers with room for more: a token is written, not the cache copied.

For callers caches are values: what a tensor holds never changes, and the same old cache can be continued twice.
Shapes: B sequences, P cached tokens, T new tokens, G heads, K size of a head.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

FEWEST, MOST = 64, 1024
"""Tokens of room in a new buffer: as many as it holds, within these. Reading a cache at each token costs so much more
than copying it every `MOST` tokens that more room would only cost memory."""


@dataclass
class _Buffer:
    storage: Tensor
    """[B, capacity, G, K]."""
    length: int
    """Tokens written so far. Nobody writes below it, so views of these tokens keep their values."""

    def view(self, begin: int, end: int) -> Tensor:
        """Tokens begin to end, as a tensor that `append` knows."""
        view = self.storage[:, begin:end]
        _VIEWS[view] = (self, begin)
        return view


# Beside the tensors, not an attribute of them: that would be copied and saved along with a state.
_VIEWS = WeakIdKeyDictionary()


def append(past: Tensor, new: Tensor) -> Tensor:
    """past [B, P, G, K], new [B, T, G, K] -> [B, P + T, G, K], where gradients are off without copying the past.

    That needs `past` to come from here and to be the end of its buffer: not to have been continued before.
    """
    if torch.is_grad_enabled() or past.dtype != new.dtype:
        return torch.cat([past, new], 1)
    tokens, added = past.shape[1], new.shape[1]
    if not tokens:
        return new
    buffer, begin = _VIEWS.get(past, (None, 0))
    end = begin + tokens + added
    if buffer is None or buffer.length != begin + tokens or end > buffer.storage.shape[1] or _closed(buffer.storage):
        buffer, begin, end = _filled(past, added), 0, tokens + added
    # Not through the tensor itself: that would tell autograd that what it kept of its views has changed.
    buffer.storage.data[:, end - added : end].copy_(new)
    buffer.length = end
    return buffer.view(begin, end)


def last(cache: Tensor, tokens: int) -> Tensor:
    """The last tokens of a cache, to be continued like the whole."""
    kept = cache[:, -tokens:]
    buffer, begin = _VIEWS.get(cache, (None, 0))
    if torch.is_grad_enabled() or buffer is None:
        return kept
    if buffer.storage.shape[1] > 2 * tokens + 2 * MOST:  # a long prompt: most of the buffer would never be read again
        return _filled(kept, 0).view(0, kept.shape[1])
    return buffer.view(begin + cache.shape[1] - kept.shape[1], begin + cache.shape[1])


def _filled(past: Tensor, added: int) -> _Buffer:
    """A buffer with the past in it and room for the new tokens and more."""
    batch, tokens, *rest = past.shape
    room = min(max(tokens + added, FEWEST), MOST)
    storage = torch.empty(batch, tokens + added + room, *rest, dtype=past.dtype, device=past.device)
    storage[:, :tokens].copy_(past)
    return _Buffer(storage, tokens)


def _closed(storage: Tensor) -> bool:
    """Whether torch forbids writing: made in inference mode, and that is over."""
    return storage.is_inference() and not torch.is_inference_mode_enabled()
