"""Native sparse attention."""

from typing import Any

import torch
from torch import Tensor, nn

from kernels import masked_attention, softmax_attention
from kernels.softmax_attention.cache import append
from search_space import limits
from search_space.checks import positive
from search_space.errors import InputError
from search_space.mixers.attention import Attention
from search_space.parts.base import Cache, Dims, KeysForm, PartCost, Scaling, State
from search_space.parts.cached_attention import own_keys

ALWAYS = 3
"""Blocks that are always selected: the first, the one before, and the token's own."""


class NativeSparseAttention(Attention):
    """Native sparse attention (NSA, 2502.11089, section 3): three looks at the past, each with a gate of its own.

    o = sum_c sigmoid(W_c x) o_c for each head, where the looks are softmax attention over compressed blocks, each the
    mean of the keys and values of `block` tokens, as soon as it is whole; over the tokens of selected blocks; and over
    a window. Selected are the blocks with most weight in the first look, summed over the heads that share keys, and
    always the first block, the one before and the token's own. The selection has no gradient.

    Blocks are averaged, do not overlap and all looks share keys and values, as in open implementations
    (flash-linear-attention); the paper learns how to compress overlapping blocks, and has keys for each look.

    Args:
        dims: sizes of the model.
        block: tokens of a block.
        selected: tokens of the selected blocks; there are `ALWAYS` + 1 blocks at least.
        window: tokens that the third look sees.
        options: those of `Attention`, but for `keys_from` and other activations than softmax.

    Raises:
        InputError: a size that is not a positive integer, and as `Attention`.
    """

    family = "sparse"
    source = "Native Sparse Attention: Hardware-Aligned and Natively Trainable Sparse Attention (arXiv 2502.11089)"

    scaled = {
        **Attention.scaled,
        "block": Scaling.LENGTH,
        "selected": Scaling.LENGTH,
        "window": Scaling.LENGTH,
    }
    offers: tuple[KeysForm, ...] = ()

    def __init__(self, dims: Dims, *, block: int = 64, selected: int = 1024, window: int = 512, **options: Any):
        super().__init__(dims, **options)
        own_keys(self.keys_from)
        if self.activation != "softmax":
            raise InputError("activation", self.activation, "softmax")
        self.block = positive("block", block, limits.TOKENS)
        self.selected = positive("selected", selected, limits.TOKENS)
        self.window = positive("window", window, limits.TOKENS)
        self.blocks = max(ALWAYS + 1, selected // block)
        self.gates = nn.Linear(dims.width, 3 * self.heads, bias=False)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:  # type: ignore[override]
        """Mixes x [B, T, D]; see `Mixer.forward`."""
        state = state or self.initial_state(x.shape[0])
        features, conv = self.conv(self.input(x), state["conv"])
        return self._mixed(features, x, conv, state)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:  # type: ignore[override]
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        features, conv = self.conv.step(self.input(x), state["conv"])
        y, state = self._mixed(features.unsqueeze(1), x.unsqueeze(1), conv, state)
        return y.squeeze(1), state

    def _mixed(self, features: Tensor, x: Tensor, conv: Tensor, state: State) -> tuple[Tensor, State]:
        position = state["position"]
        q, k, v = self._heads(features, position)
        k, v = append(state["keys"], k), append(state["values"], v)
        block_k, block_v = self._compressed(state["block_keys"], k), self._compressed(state["block_values"], v)
        looks = self._looks(q, k, v, block_k, block_v, position)
        gates = self.gates(x).sigmoid().unflatten(-1, (3, self.heads, 1)).unbind(-3)
        o = sum(gate * look for gate, look in zip(gates, looks, strict=True))
        new = {"keys": k, "values": v, "block_keys": block_k, "block_values": block_v, "conv": conv}
        return self.read(o, x), {**new, "position": position + x.shape[1]}  # type: ignore[arg-type]

    def _compressed(self, known: Tensor, tokens: Tensor) -> Tensor:
        """Means of all whole blocks, [B, N, G, size], of which the first are known."""
        first, last = known.shape[1], tokens.shape[1] // self.block
        if first == last:
            return known
        new = tokens[:, first * self.block : last * self.block].unflatten(1, (last - first, self.block)).mean(2)
        return torch.cat([known, new], 1)

    def _looks(
        self, q: Tensor, k: Tensor, v: Tensor, block_k: Tensor, block_v: Tensor, position: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What is read of compressed blocks, of selected ones and of the window, each [B, T, H, V]."""
        new, total, whole = q.shape[1], k.shape[1], block_k.shape[1]
        place = torch.arange(position, position + new, device=q.device)[:, None]
        number = torch.arange(-(-total // self.block), device=q.device)
        seen = (number[:whole] + 1) * self.block <= place + 1
        # The weights of the first look, zero for blocks that are not seen.
        grouped = q.unflatten(2, (self.kv_heads, -1))
        scores = torch.einsum("btghk,bngk->bghtn", grouped, block_k) * self.key_size**-0.5
        blind = ~seen.any(-1, keepdim=True)
        weights = scores.masked_fill(~seen & ~blind, float("-inf")).softmax(-1).masked_fill(blind, 0.0).sum(2)
        weights = nn.functional.pad(weights.detach(), (0, len(number) - whole))  # [B, G, T, blocks]
        own = place // self.block
        always = (number == 0) | (number == own) | (number == own - 1)
        rank = weights.masked_fill(always, float("inf")).masked_fill(number > own, float("-inf"))
        best = rank.topk(min(self.blocks, len(number)), -1).indices
        chosen = torch.zeros_like(rank).scatter(-1, best, 1.0) > 0
        age = place - torch.arange(total, device=q.device)
        tokens = chosen.repeat_interleave(self.block, -1)[..., :total] & (age >= 0)
        tokens = tokens.repeat_interleave(self.heads // self.kv_heads, 1)
        near, _ = softmax_attention(q, k, v, window=self.window)
        if not whole:
            return torch.zeros_like(near), masked_attention(q, k, v, tokens), near
        return masked_attention(q, block_k, block_v, seen), masked_attention(q, k, v, tokens), near

    def initial_state(self, batch: int) -> State:
        """An empty cache, and no block."""
        state = super().initial_state(batch)
        return {**state, "block_keys": state["keys"].clone(), "block_values": state["values"].clone()}

    def state_after(self, batch: int, context: int) -> State:
        """Tokens and blocks of zeros."""
        state, counts = self.initial_state(batch), {"": context, "block_": context // self.block}
        grown = {
            f"{part}{name}": state[name].new_zeros(batch, count, *state[name].shape[2:])
            for part, count in counts.items()
            for name in ("keys", "values")
        }
        return {**state, **grown, "position": context}

    def cost(self) -> PartCost:
        """All tokens are kept, and the means of blocks; a step reads these, the selected tokens and the window."""
        size = self.key_size + self.value_size
        elements, flops = self.kv_heads * size, 2.0 * self.heads * size
        read = self.blocks * self.block + (self.window or 0)
        tokens = Cache(elements=elements, flops=flops, reads=read, heads=self.kv_heads)
        return PartCost(
            **self.weights(),
            caches=(tokens, Cache(elements=elements, flops=flops, every=self.block, heads=self.kv_heads)),
            conv_elements=self.conv.cached * self.conv.channels,
        )
