"""The proxy: a small language model built from a layout.

Shapes: N sequences, L tokens, D model width, V vocabulary, M scored positions.
"""

import math
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import torch
from torch import Tensor, nn

from search_space.errors import InputError
from search_space.layouts.layout import Layout
from search_space.mixers import build_mixer
from search_space.mixers.base import Dims
from search_space.nn import RMSNorm, ShortConvolution, SwiGLU


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """Sizes of the proxy model.

    Args:
        width: model width D.
        heads: query heads of the attention layers.
        kv_heads: key-value heads of the attention layers; null means as many as `heads`.
        mlp_ratio: hidden width of the SwiGLU over D; 0 leaves the MLPs out.
        shift: width of a residual causal convolution ahead of every mixer (Canon layers, 2512.17351); 0 leaves it out.
            It lets short training runs find induction without attention having to learn it from positions alone.
        residual: every block adds its output times residual / layers (2505.01618), so that models of any depth train
            well at one learning rate; models of so many layers and fewer add it as it is.
        embedding_std: standard deviation of the (tied) embeddings; logits are scaled to start with a
            standard deviation of about 1 whatever it is.
        options: options that mixers take at the proxy's size, over those of the layout:
            {mixer: {option: value}}, or {"mixer(option=value)": {...}} for one of several blocks of a mixer.
    """

    width: int = 32
    heads: int = 2
    kv_heads: int | None = None
    mlp_ratio: float = 1.0
    shift: int = 2
    residual: float = 6.0
    embedding_std: float = 0.3
    options: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self):
        for key in ("width", "heads"):
            if getattr(self, key) < 1:
                raise InputError(f"proxy.{key}", getattr(self, key), "a positive integer")
        for key in ("mlp_ratio", "shift"):
            if getattr(self, key) < 0:
                raise InputError(f"proxy.{key}", getattr(self, key), "zero or more")
        for key in ("residual", "embedding_std"):
            if not 0 < getattr(self, key) < math.inf:
                raise InputError(f"proxy.{key}", getattr(self, key), "a positive number")


class ProxyBlock(nn.Module):
    """Mixer and MLP, each behind a norm; both add `scale` times their output to what came in."""

    def __init__(self, mixer: nn.Module, proxy: Proxy, scale: float):
        super().__init__()
        self.scale = scale
        self.mixer_norm = RMSNorm(proxy.width)
        self.shift = ShortConvolution(proxy.width, proxy.shift, activation=False) if proxy.shift else None
        self.mixer = mixer
        hidden = round(proxy.width * proxy.mlp_ratio)
        self.mlp_norm = RMSNorm(proxy.width) if hidden else nn.Identity()
        self.mlp = SwiGLU(proxy.width, hidden) if hidden else None

    def forward(self, x: Tensor) -> Tensor:
        """x [N, L, D] -> [N, L, D]."""
        h = self.mixer_norm(x)
        if self.shift is not None:
            h = h + self.shift(h)[0]
        x = torch.add(x, self.mixer(h)[0], alpha=self.scale)
        return x if self.mlp is None else torch.add(x, self.mlp(self.mlp_norm(x)), alpha=self.scale)


class ProxyModel(nn.Module):
    """Embedding, one `ProxyBlock` a layer, tied head.

    Every layer draws its initial values from (seed, depth, block) alone, so that layouts which share a layer start it
    alike and differ less by chance. Output projections start at zero: lower loss and less spread over seeds than
    scaled ones in short runs.
    """

    def __init__(self, layout: Layout, proxy: Proxy, vocabulary: int, seed: int):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, proxy.width)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            nn.init.normal_(self.embedding.weight, std=proxy.embedding_std)
            self.blocks = nn.ModuleList(self._block(layout, index, proxy, seed) for index in range(len(layout.layers)))
        self.norm = RMSNorm(proxy.width)
        self.logit_scale = 1 / (proxy.embedding_std * proxy.width**0.5)

    @staticmethod
    def _block(layout: Layout, index: int, proxy: Proxy, seed: int) -> ProxyBlock:
        block = layout.layers[index].updated(proxy.options)
        dims = Dims(width=proxy.width, heads=proxy.heads, kv_heads=proxy.kv_heads)
        torch.manual_seed(crc32(f"{seed} {index} {block}".encode()))
        mixer: Any = build_mixer(block.mixer, dims, dict(block.options), key=f"proxy.options.{block.mixer}")
        built = ProxyBlock(mixer, proxy, min(1.0, proxy.residual / len(layout.layers)))
        nn.init.zeros_(mixer.output.weight)
        if built.mlp is not None:
            nn.init.zeros_(built.mlp.output.weight)
        return built

    def forward(self, tokens: Tensor, scored: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        """Logits at the scored positions only: tokens [N, L] -> [M, V].

        Args:
            tokens: [N, L].
            scored: [N, L] bool, or the indices of the positions: rows [M], columns [M].
        """
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return (self.norm(x[scored]) * self.logit_scale) @ self.embedding.weight.T
