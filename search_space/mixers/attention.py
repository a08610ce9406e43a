"""Softmax attention."""

from typing import Any

import torch
from torch import Tensor, nn

from kernels import (
    elementwise_attention,
    elementwise_attention_step,
    rotary,
    softmax_attention,
    softmax_attention_step,
)
from search_space.checks import switch
from search_space.errors import InputError, one_of
from search_space.parts.base import Below, Cache, Dims, KeysForm, PartCost, State
from search_space.parts.heads import AttentionHeads
from search_space.parts.nn import RMSNorm, ShortConvolution

ACTIVATIONS = ["softmax", "relu", "softplus", "sigmoid"]
SOURCES = ["layer", "embedding"]


class Attention(AttentionHeads):
    """Causal softmax attention (1706.03762) with rotary positions (2104.09864) and grouped keys (2305.13245).

    Weights other than the softmax of scores come from each score by itself:

        relu: ReLA (2104.07012): relu, and an RMS norm over all heads of what was read. ReLA has no rotary positions and
            may gate the norm; both are options here (`rope_theta`, `gated_attention`).
        softplus: softplus over the sum of all (2501.13428). Its scale, which grows with the length, and its
            powers of weights are left out: they are for longer texts than those of training.
        sigmoid: SWAT (2502.18845): sigmoid with balanced ALiBi beside the rotary positions, for sliding windows.

    Keys and values may come from the token embeddings in place of the layer's input, as in InAttention (2410.07063);
    queries come from the input all the same. The embeddings pass an RMS norm of the layer first, as the input does.
    InAttention saves memory by keeping what they are made of alone; here keys and values are kept, at the memory and
    the FLOPs of other attention.

    Args:
        dims: sizes of the model.
        heads: query heads; None means those of the model.
        kv_heads: key-value heads; None means those of the model, or `heads` where that is given.
        key_size: of each head, even; None means width / heads.
        value_size: of each head; None means width / heads.
        conv: width of a short convolution over queries, keys and values; 0 means none.
        rope_theta: base of the rotary wavelengths; None means no positions.
        qk_norm: whether queries and keys of each head pass RMS norms ahead of the positions (2302.05442), as in Qwen3.
        activation: of the scores; softmax, relu, softplus or sigmoid.
        keys_from: what keys and values are made of: layer, its input; or embedding, that of the token.

    Raises:
        InputError: sizes that are not positive integers, do not divide, an odd key size, an unknown activation, or keys
            from elsewhere.
    """

    source = "Attention Is All You Need (arXiv 1706.03762)"
    family = "attention"

    def __init__(
        self,
        dims: Dims,
        *,
        conv: int = 0,
        qk_norm: bool = False,
        activation: str = "softmax",
        keys_from: str = "layer",
        **options: Any,
    ):
        super().__init__(dims, **options)
        if activation not in ACTIVATIONS:
            raise InputError("activation", activation, one_of(activation, ACTIVATIONS))
        self.activation = activation
        self.sizes = [(self.heads + self.kv_heads) * self.key_size, self.kv_heads * self.value_size]
        if keys_from not in SOURCES:
            raise InputError("keys_from", keys_from, one_of(keys_from, SOURCES))
        self.keys_from, self.lends = keys_from, False
        of_embedding = self.kv_heads * (self.key_size + self.value_size) if keys_from == "embedding" else 0
        self.input = nn.Linear(dims.width, sum(self.sizes) - of_embedding, bias=False)
        made = nn.Linear(dims.width, of_embedding, bias=False) if of_embedding else None
        self.embedded = nn.Sequential(RMSNorm(dims.width), made) if made else None
        self.conv = ShortConvolution(sum(self.sizes), conv, activation=False)
        normed = switch("qk_norm", qk_norm)
        self.norms = nn.ModuleList([RMSNorm(self.key_size), RMSNorm(self.key_size)]) if normed else None
        self.norm = RMSNorm(self.heads * self.value_size) if activation == "relu" else None
        self.output = nn.Linear(self.heads * self.value_size, dims.width, bias=False)

    @property
    def takes_below(self) -> bool:  # type: ignore[override]
        """Where keys are made of embeddings, or layers above read them."""
        return self.embedded is not None or self.lends

    @property
    def offers(self) -> tuple[KeysForm, ...]:  # type: ignore[override]
        """Its keys and values, where they are those of a softmax."""
        return (self.form,) if self.activation == "softmax" else ()

    def lend(self, form: KeysForm) -> None:
        """Shows them to layers above from now on."""
        self.lends = True

    def forward(self, x: Tensor, state: State | None = None, below: Below | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D]; see `Mixer.forward`."""
        position = state["position"] if state else 0
        cache = (state["keys"], state["values"]) if state else None
        features, conv = self.conv(self._features(x, below), state["conv"] if state else None)
        q, k, v = self._heads(features, position)
        if self.activation == "softmax":
            o, (keys, values) = softmax_attention(q, k, v, window=self.window, initial_state=cache)
        else:
            o, (keys, values) = elementwise_attention(
                *(q, k, v, self.activation),
                decaying=self.activation == "sigmoid",
                window=self.window,
                initial_state=cache,
            )
        if self.lends and below is not None:
            seen = keys, values
            if self.window is not None:  # what it keeps lacks tokens that the first queries see
                seen = (k, v) if cache is None else (torch.cat([cache[0], k], 1), torch.cat([cache[1], v], 1))
            below.offer(self.form, *seen)
        new = {"keys": keys, "values": values, "conv": conv, "position": position + x.shape[1]}
        return self.read(o, x), new

    def step(self, x: Tensor, state: State, below: Below | None = None) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        position = state["position"]
        features, conv = self.conv.step(self._features(x, below), state["conv"])
        heads, cache = self._heads(features, position), (state["keys"], state["values"])
        if self.activation == "softmax":
            o, (keys, values) = softmax_attention_step(*heads, cache, window=self.window)
        else:
            o, (keys, values) = elementwise_attention_step(
                *heads, self.activation, cache, decaying=self.activation == "sigmoid", window=self.window
            )
        if self.lends and below is not None:
            below.offer(self.form, keys, values)
        return self.read(o, x), {"keys": keys, "values": values, "conv": conv, "position": position + 1}

    def _features(self, x: Tensor, below: Below | None) -> Tensor:
        """Projections to queries, keys and values, of x [..., D] and where it is asked for of embeddings [..., D]."""
        if self.embedded is None:
            return self.input(x)
        if below is None:
            raise ValueError("keys from embeddings: expected them, in a Below, beside the input")
        return torch.cat([self.input(x), self.embedded(below.embeddings)], -1)

    def read(self, o: Tensor, x: Tensor) -> Tensor:
        """Output [..., D] from what each head read, o [..., heads, value_size], at the inputs x [..., D]."""
        o = o.flatten(-2)
        return self.output(o if self.norm is None else self.norm(o))

    def _heads(self, features: Tensor, position: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [..., heads, key_size], keys and values [..., kv_heads, size]."""
        qk, v = features.split(self.sizes, -1)
        qk = qk.unflatten(-1, (self.heads + self.kv_heads, self.key_size))
        if self.norms is not None:
            q, k = qk.split([self.heads, self.kv_heads], -2)
            qk = torch.cat([norm(x) for norm, x in zip(self.norms, (q, k), strict=True)], -2)
        if self.rope_theta is not None:
            qk = rotary(qk, position, self.rope_theta)
        q, k = qk.split([self.heads, self.kv_heads], -2)
        return q, k, v.unflatten(-1, (self.kv_heads, self.value_size))

    def initial_state(self, batch: int) -> State:
        """An empty cache."""
        weight = self.input.weight
        return {
            "keys": weight.new_zeros(batch, 0, self.kv_heads, self.key_size),
            "values": weight.new_zeros(batch, 0, self.kv_heads, self.value_size),
            "conv": self.conv.initial_cache(weight, batch),
            "position": 0,
        }

    def cost(self) -> PartCost:
        """The cache, and the FLOPs of comparing with every key in it and of reading the values."""
        size, heads = self.key_size + self.value_size, self.kv_heads
        return PartCost(
            **self.weights(),
            caches=(Cache(elements=heads * size, flops=2.0 * self.heads * size, window=self.window, heads=heads),),
            conv_elements=self.conv.cached * self.conv.channels,
        )
