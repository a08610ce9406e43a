"""What a part of a layer costs, as plain numbers."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

FP32_BYTES = 4
"""Of an element of a recurrent state."""


@dataclass(frozen=True, kw_only=True)
class Cache:
    """What is kept of the tokens of context, as keys and values are: an entry for each, or for so many of them.

    Args:
        elements: of an entry.
        flops: that a decode step spends on each entry that it reads.
        window: most tokens whose entries are kept; None means all.
        every: tokens that share an entry, which is there once all of them are.
        reads: most entries that a decode step reads, where it selects; None means all.
        levels: whether there is but an entry for every bit of the number of tokens, as where states of 1, 2, 4, ...
            tokens are kept.
        fp32: whether it is kept in fp32, as recurrent states are.
        prefill_flops: that a token of a prompt spends on each entry that it reads; None means as many.
        owned: whether the part keeps it itself; else a layer below does, and only reading it costs anything.
        heads: that share the elements of an entry evenly. Several devices share them out, and where there are fewer
            heads than devices, each is kept more than once. None means that the elements can be shared out in any way.
    """

    elements: int
    flops: float
    window: int | None = None
    every: int = 1
    reads: int | None = None
    levels: bool = False
    fp32: bool = False
    prefill_flops: float | None = None
    owned: bool = True
    heads: int | None = None

    def copied(self, devices: int) -> int:
        """Elements of an entry on so many devices together, each of which keeps as many heads as the first."""
        if self.heads is None:
            return self.elements
        each = -(-self.heads // devices)
        return self.elements * each * devices // self.heads

    def kept(self, context: int) -> int:
        """Entries that are kept of a context of so many tokens."""
        if self.levels:
            return context.bit_length()
        return (context if self.window is None else min(context, self.window)) // self.every

    def read(self, context: int) -> int:
        """Entries that the step after so many tokens reads."""
        kept = self.kept(context)
        return kept if self.reads is None else min(kept, self.reads)

    @property
    def seen_flops(self) -> float:
        """FLOPs that a token of a prompt spends on each entry that it reads."""
        return self.flops if self.prefill_flops is None else self.prefill_flops

    def attended(self, tokens: int) -> int:
        """Entries that those of a prompt read, all together: the sum of `read` over 1 .. tokens."""
        if self.levels:
            return sum((tokens + 1 - 2**bit) for bit in range(tokens.bit_length()))
        most = self.read(tokens)
        first = most * self.every  # the first token that reads so many
        return self.every * most * (most - 1) // 2 + (tokens - first + 1) * most


@dataclass(frozen=True, kw_only=True)
class Experts:
    """Weights of which each token uses a few: experts, or rows of tables.

    Args:
        count: how many there are.
        used: of them by a token.
        parameters: of each.
    """

    count: int
    used: int
    parameters: int

    def unused(self, tokens: int) -> float:
        """Parameters that so many tokens leave unread, as expected where each token chooses evenly at random."""
        return self.count * (1 - self.used / self.count) ** tokens * self.parameters


@dataclass(frozen=True, kw_only=True)
class PartCost:
    """What one part of a layer costs, per sequence and token, as plain numbers.

    The cost model turns these into bytes and seconds for a batch, a context and a device.

    Args:
        parameters: all parameters of the part.
        product_flops: FLOPs a token of products with parameters: the projections.
        caches: what grows with the context.
        state_elements: recurrent state elements, kept in fp32, read and written at every step.
        idle_elements: of the state elements, those that a step neither reads nor writes.
        conv_elements: cached inputs of the short convolutions.
        decode_flops: FLOPs of one decode step beside `product_flops` and those of the caches.
        prefill_flops: FLOPs a token beside these when a whole sequence is processed (chunkwise).
        experts: the parameters of which a token uses a few; what is in none of them it uses all.
    """

    parameters: int
    product_flops: float
    caches: tuple[Cache, ...] = ()
    state_elements: int = 0
    idle_elements: int = 0
    conv_elements: int = 0
    decode_flops: float = 0.0
    prefill_flops: float = 0.0
    experts: tuple[Experts, ...] = ()

    def cache_elements(self, context: int) -> int:
        """Elements that a sequence of `context` tokens keeps in the caches."""
        return sum(cache.elements * cache.kept(context) for cache in self.caches if cache.owned)

    def cache_bytes(self, context: int, element_bytes: int, read: bool = False, devices: int = 1) -> int:
        """Bytes of the caches, or of what a step reads of them, on so many devices together.

        Args:
            context: tokens.
            element_bytes: of what is not fp32.
            read: whether only what a step reads counts.
            devices: that share the heads of attention out; see `Cache.heads`.
        """
        total = 0
        for cache in (cache for cache in self.caches if cache.owned or read):
            entries = cache.read(context) if read else cache.kept(context)
            total += cache.copied(devices) * entries * (FP32_BYTES if cache.fp32 else element_bytes)
        return total

    def step_flops(self, context: int) -> float:
        """FLOPs of a decode step that follows `context` tokens."""
        return self.product_flops + self.decode_flops + sum(c.flops * c.read(context) for c in self.caches)

    def prompt_flops(self, tokens: int) -> float:
        """FLOPs of a prompt."""
        whole = tokens * (self.product_flops + self.prefill_flops)
        return whole + sum(cache.seen_flops * cache.attended(tokens) for cache in self.caches)

    @staticmethod
    def total(costs: Iterable["PartCost"]) -> "PartCost":
        """The cost of several parts of one layer together."""
        costs = list(costs)
        each = {f.name: [getattr(cost, f.name) for cost in costs] for f in fields(PartCost)}
        sums: dict[str, Any] = {k: sum(v, ()) if k in ("caches", "experts") else sum(v) for k, v in each.items()}
        return PartCost(**sums)
