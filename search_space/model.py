"""The model: from a layout to a torch module, at the sizes of the target or of its proxy.

Shapes: B sequences, T tokens, D model width, V vocabulary, M scored positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import torch
from torch import Tensor, nn

from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.layouts.reading import nothing_below
from search_space.parts.base import Below, Dims, State
from search_space.parts.below import connect, unmet
from search_space.parts.build import build_channel_mixer, build_mixer
from search_space.parts.nn import RMSNorm, ShortConvolution, unit_length


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of a model, and how it is wired.

    Args:
        width: model width D.
        heads: query heads of the attention layers.
        kv_heads: key-value heads of the attention layers.
        mlp_width: hidden width of a channel mixer that states no ratio.
        vocabulary: V.
        tied_embeddings: whether input embedding and head are one matrix.
        residual: every layer adds its output times min(1, residual / layers) (2505.01618); None adds it as it is.
        shift_width: tokens seen by a short causal convolution that is added to the input of mixers (Canon layers,
            2512.17351); 0 leaves it out.
        shift_from: index of the first layer that has it.
        embedding_skip: weight of the token embedding in the input of every mixer, beside what the layers below made of
            it, both scaled to one length; 0 leaves it out.
        embedding_std: standard deviation of the embeddings; None leaves embeddings and logits as torch makes them.
        logit_std: with `embedding_std`, about the standard deviation that the logits start with: the value that the
            weights of the last norm start with.
        zero_outputs: whether the last projections of mixers and channel mixers start at zero.
        open_gates: whether gates of mixers start open; see `LayerPart.open_gates`.
    """

    width: int
    heads: int
    kv_heads: int
    mlp_width: int
    vocabulary: int
    tied_embeddings: bool = False
    residual: float | None = None
    shift_width: int = 0
    shift_from: int = 0
    embedding_skip: float = 0.0
    embedding_std: float | None = None
    logit_std: float = 1.0
    zero_outputs: bool = False
    open_gates: bool = False

    def dims(self, layer: int = 0, layers: int = 1) -> Dims:
        """What a part in that layer knows of the model."""
        return Dims(
            width=self.width,
            heads=self.heads,
            kv_heads=self.kv_heads,
            mlp_width=self.mlp_width,
            layer=layer,
            layers=layers,
        )


class Layer(nn.Module):
    """A mixer and a channel mixer, each behind a norm, added to what came in; either may be left out."""

    def __init__(self, block: Block, sizes: Sizes, layer: int = 0, layers: int = 1, seed: int | None = None):
        super().__init__()
        dims = sizes.dims(layer, layers)
        self.scale = min(1.0, sizes.residual / layers) if sizes.residual else 1.0
        self.mixer: Any = None
        self.mixer_norm: Any = None
        self.shift: Any = None
        self.embedding_skip = sizes.embedding_skip
        self.mlp: Any = None
        self.mlp_norm: Any = None
        if block.mixer:
            _seed(seed, layer, block.mixer)
            self.mixer = build_mixer(block.mixer, dims)
            self.mixer_norm = RMSNorm(sizes.width)
            if sizes.shift_width and layer >= sizes.shift_from:
                self.shift = ShortConvolution(sizes.width, sizes.shift_width, activation=False)
        if block.mlp:
            _seed(seed, layer, block.mlp)
            self.mlp = build_channel_mixer(block.mlp, dims)
            self.mlp_norm = RMSNorm(sizes.width)
        if sizes.zero_outputs:
            for part in filter(None, (self.mixer, self.mlp)):
                part.zero_output()
        if sizes.open_gates and self.mixer is not None:
            self.mixer.open_gates()

    @property
    def takes_below(self) -> bool:
        """Whether its mixer reads or shows more than its input and output."""
        return self.mixer is not None and self.mixer.takes_below

    def forward(self, x: Tensor, state: State | None = None, below: Below | None = None) -> tuple[Tensor, State]:
        """x [B, T, D] -> [B, T, D], continuing from `state`; `below` has the embeddings, for the skip too."""
        return self._run(x, state, below, self.mixer, self.shift)

    def step(self, x: Tensor, state: State, below: Below | None = None) -> tuple[Tensor, State]:
        """The same for a single token x [B, D]."""
        return self._run(x, state, below, self.mixer and self.mixer.step, self.shift and self.shift.step)

    def _run(self, x: Tensor, state: State | None, below: Below | None, mixer: Any, shift: Any) -> tuple[Tensor, State]:
        new: State = {}
        if mixer is not None:
            seen = x
            if self.embedding_skip and below is not None:
                seen = torch.add(unit_length(x), unit_length(below.embeddings), alpha=self.embedding_skip)
            h = self.mixer_norm(seen)
            if shift is not None:
                shifted, new["shift"] = shift(h, state and state["shift"])
                h = h + shifted
            y, new["mixer"] = mixer(h, state and state["mixer"], *([below] if self.takes_below else []))
            if below is not None:
                below.rise()
            x = torch.add(x, y, alpha=self.scale)
        if self.mlp is not None:
            x = torch.add(x, self.mlp(self.mlp_norm(x)), alpha=self.scale)
        return x, new

    def initial_state(self, batch: int) -> State:
        """The state before the first token."""
        state: State = {}
        if self.mixer is not None:
            state["mixer"] = self.mixer.initial_state(batch)
            if self.shift is not None:
                state["shift"] = self.shift.initial_cache(self.shift.weight, batch)
        return state


class Model(nn.Module):
    """Embedding, layers, norm and head.

    With a seed, every part draws its initial values from (seed, layer, part) alone, so that layouts which share a part
    of a layer start it alike and differ less by chance.

    Args:
        blocks: what sits in each layer; none at all leaves the two ends.
        sizes: of the model.
        seed: of the initial values; None takes them from torch's own generator.

    Raises:
        InputError: a part cannot be built at these sizes, or reads what no layer below it keeps.
    """

    def __init__(self, blocks: Sequence[Block], sizes: Sizes, seed: int | None = None):
        super().__init__()
        std = sizes.embedding_std
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            self.embedding = nn.Embedding(sizes.vocabulary, sizes.width)
            if std:
                nn.init.normal_(self.embedding.weight, std=std)
            self.head = None if sizes.tied_embeddings else nn.Linear(sizes.width, sizes.vocabulary, bias=False)
            depth = len(blocks)
            self.layers: Any = nn.ModuleList(Layer(b, sizes, i, depth, seed) for i, b in enumerate(blocks))
        mixers: list[Any] = [layer.mixer for layer in self.layers]
        missing = unmet(((), ()) if mixer is None else (mixer.offers, mixer.reads) for mixer in mixers)
        if missing:
            raise nothing_below(blocks, *missing[0])
        connect(mixers)
        self.norm = RMSNorm(sizes.width)
        self.logit_scale = 1.0
        if std:
            nn.init.constant_(self.norm.weight, sizes.logit_std)
            self.logit_scale = 1 / (std * sizes.width**0.5)
        for part in dict.fromkeys(block.mixer for block in blocks if block.mixer):
            same: Any = [layer.mixer for layer, block in zip(self.layers, blocks, strict=True) if block.mixer == part]
            type(same[0]).share(same)

    def forward(self, tokens: Tensor, scored: Tensor | tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Logits: tokens [B, T] -> [B, T, V], or [M, V] at the scored positions only.

        Args:
            tokens: [B, T].
            scored: [B, T] bool, or the indices of the positions: rows [M], columns [M].
        """
        x = self.embedding(tokens)
        below = Below(x, tokens, self.embedding)
        for layer in self.layers:
            x, _ = layer(x, below=below)
        return self.logits(x if scored is None else x[scored])

    def prefill(self, tokens: Tensor, states: Sequence[State] | None = None) -> tuple[Tensor, list[State]]:
        """Logits after the last of the tokens [B, T], as [B, V], and the states of the layers."""
        x, new = self.embedding(tokens), []
        below = Below(x, tokens, self.embedding)
        known: Sequence[State | None] = states or [None] * len(self.layers)
        for layer, state in zip(self.layers, known, strict=True):
            x, after = layer(x, state, below)
            new.append(after)
        return self.logits(x[:, -1]), new

    def step(self, tokens: Tensor, states: Sequence[State]) -> tuple[Tensor, list[State]]:
        """Logits [B, V] after one more token of each sequence, [B], and the new states."""
        x, new = self.embedding(tokens), []
        below = Below(x, tokens, self.embedding)
        for layer, state in zip(self.layers, states, strict=True):
            x, after = layer.step(x, state, below)
            new.append(after)
        return self.logits(x), new

    def initial_states(self, batch: int) -> list[State]:
        """The states before the first token."""
        return [layer.initial_state(batch) for layer in self.layers]

    def logits(self, x: Tensor) -> Tensor:
        """From the outputs of the last layer, [..., D] -> [..., V]."""
        h = self.norm(x) * self.logit_scale
        return h @ self.embedding.weight.T if self.head is None else self.head(h)


def build_model(layout: Layout, sizes: Sizes, seed: int | None = None) -> Model:
    """The torch module of a layout at some sizes: the only way from one to the other.

    Under `torch.device("meta")` it takes no memory. A layout of the proxy's scale comes from `Scale.layout`.

    Args:
        layout: with options at the scale of `sizes`.
        sizes: of the model.
        seed: of the initial values; None takes them from torch's own generator.

    Raises:
        InputError: a part cannot be built at these sizes, or reads what no layer below it keeps.
    """
    return Model(layout.layers, sizes, seed)


def _seed(seed: int | None, layer: int, part: object) -> None:
    if seed is not None:
        torch.manual_seed(crc32(f"{seed} {layer} {part}".encode()))
