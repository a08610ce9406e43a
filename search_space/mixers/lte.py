"""A window with learnable token eviction."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kernels import masked_attention
from search_space import limits
from search_space.checks import not_negative, positive
from search_space.errors import InputError
from search_space.parts.base import Cache, Dims, PartCost, Scaling, State
from search_space.parts.cached_attention import CachedAttention
from search_space.parts.gradient import with_gradient
from search_space.parts.nn import BlockLinear

TAPS, DILATION, LAYERS = 3, 2, 3
PAST = (TAPS - 1) * DILATION
"""Inputs before a token that each convolution of the router sees."""
AHEAD = LAYERS * PAST // 2
"""Tokens behind one that its score depends on."""


class Router(nn.Module):
    """Scores tokens by three convolutions over their neighbours, for each key-value head by itself.

    Args:
        groups: G, key-value heads.
        size: of a key and a value together.
    """

    def __init__(self, groups: int, size: int):
        super().__init__()
        self.sizes = [max(1, size >> i) for i in range(LAYERS + 1)]
        pairs = zip(self.sizes, self.sizes[1:], strict=False)
        self.layers = nn.ModuleList(BlockLinear(groups, TAPS * one, other) for one, other in pairs)
        self.last = BlockLinear(groups, self.sizes[-1], 1)
        for layer in (*self.layers, self.last):
            layer.weight.data *= 2**0.5  # He's
        nn.init.constant_(self.last.bias, 0.5)

    def forward(self, x: Tensor, past: list[Tensor], position: int) -> tuple[Tensor, list[Tensor]]:
        """Scores [B, T, G] that are complete with each token of x [B, T, G, size], those of tokens `AHEAD` before.

        Args:
            x: keys and values.
            past: the last inputs of each layer, [B, PAST, G, ...].
            position: place of the first token.
        """
        length, kept = x.shape[1], []
        place = torch.arange(position, position + length, device=x.device)[:, None, None]
        for i, layer in enumerate(self.layers):
            inputs = torch.cat([past[i], x], 1)
            kept.append(inputs[:, length:])
            taps = [inputs[:, tap * DILATION : tap * DILATION + length] for tap in range(TAPS)]
            x = F.silu(layer(torch.cat(taps, -1).flatten(-2)))
            x = x * (place >= (i + 1) * PAST // 2)  # else it stands for a place ahead of the sequence
        return self.last(x.flatten(-2)).squeeze(-1).sigmoid() - 0.5, kept


class LearnableTokenEviction(CachedAttention):
    """Attention to a window, to the first tokens, and to those that a router keeps as they leave (LTE, 2510.20787).

    The router reads keys (ahead of positions) and values of a token and of six on either side, by three convolutions
    with SiLU whose channels halve, and keeps a token if sigmoid(.) - 1/2 is positive, for each key-value head by
    itself. Of the tokens that were kept the newest `buffer` are seen. The score gets the gradient of a factor on the
    value, which it is not. A score has to be there as its token leaves the window: with windows of less than six tokens
    the convolutions move back by what is missing.

    The released code holds the number of kept tokens down by a penalty on positive scores whose weight is adapted in
    training; here its weight is fixed, and it acts on heads that keep more tokens than their buffer holds. Its limit by
    the scores of a whole text, which no decoding step could know, and the dropout of the router are left out.

    Args:
        dims: sizes of the model.
        window: tokens that are seen in any case, itself included.
        buffer: kept tokens that are seen.
        sinks: first tokens that are always seen.
        penalty: weight of the penalty on positive scores.
        options: those of `Attention`, but for other activations than softmax.

    Raises:
        InputError: a size that is not a positive integer, a negative weight, and as `Attention`.
    """

    family = "sparse"
    source = (
        "Alleviating Forgetfulness of Linear Attention by Hybrid Sparse Attention and Contextualized Learnable Token "
        "Eviction (arXiv 2510.20787)"
    )

    scaled = {
        **CachedAttention.scaled,
        "window": Scaling.LENGTH,
        "buffer": Scaling.LENGTH,
        "sinks": Scaling.LENGTH,
    }

    window: int  # type: ignore[assignment]

    def __init__(
        self,
        dims: Dims,
        *,
        window: int = 769,
        buffer: int = 512,
        sinks: int = 4,
        penalty: float = 0.01,
        **options: Any,
    ):
        super().__init__(dims, **options)
        if self.activation != "softmax":
            raise InputError("activation", self.activation, "softmax")
        self.window = positive("window", window, limits.TOKENS)
        self.buffer = positive("buffer", buffer, limits.TOKENS)
        self.sinks = positive("sinks", sinks, limits.TOKENS)
        self.penalty = not_negative("penalty", penalty)
        self.ahead = min(AHEAD, window)
        self.router = Router(self.kv_heads, self.key_size + self.value_size)

    def attended(self, features: Tensor, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """As every token is kept or not."""
        state = state or self.initial_state(x.shape[0])
        position, length, past = state["position"], features.shape[1], state["keys"].shape[1]
        q, k, v = self._heads(features, position)
        raw = features[..., self.heads * self.key_size :]  # keys ahead of norms and positions, and values
        raw_k, raw_v = raw.split([self.kv_heads * self.key_size, self.kv_heads * self.value_size], -1)
        both = torch.cat([x.unflatten(-1, (self.kv_heads, -1)) for x in (raw_k, raw_v)], -1)
        scores, inputs = self.router(both, [state[f"router{i}"] for i in range(LAYERS)], position)
        if self.penalty:
            scores = self._penalised(scores)
        # Of the tokens before, the last `ahead` had no score yet; none is for a token ahead of the first.
        late = min(position, self.ahead)
        scores = scores[:, self.ahead - late :]
        first = past - late
        blank = [
            state["kept"][:, :first],
            state["kept"].new_zeros(v.shape[0], length + late - scores.shape[1], v.shape[2]),
        ]
        kept = torch.cat([blank[0], (scores > 0).to(v.dtype), blank[1]], 1)
        factor = torch.cat([torch.zeros_like(blank[0]), scores - scores.detach(), blank[1]], 1)
        keys, values = torch.cat([state["keys"], k], 1), torch.cat([state["values"], v], 1)
        seen = self._seen(kept, past)
        o = masked_attention(q, keys, values * (1 + factor)[..., None].to(v.dtype), seen)
        new = {"keys": keys, "values": values, "kept": kept}
        names = {f"router{i}": x for i, x in enumerate(inputs)}
        return o, {**self._pruned(new), **names, "position": position + length}

    def _seen(self, kept: Tensor, past: int) -> Tensor:
        """Which entries each head of each token sees [B, H, T, entries], by what was kept [B, entries, G]."""
        entry = torch.arange(kept.shape[1], device=kept.device)
        own = entry[past:]
        age = (own[:, None] - entry)[..., None]
        free = (kept > 0) & (entry >= self.sinks)[:, None]
        number = free.long().cumsum(1)
        left = F.pad(number, (0, 0, 1, 0))[:, (own + 1 - self.window).clamp(min=0)]
        newer = left[:, :, None] - number[:, None]  # kept tokens that left the window after this one
        far = (free[:, None] & (newer < self.buffer)) | (entry < self.sinks)[:, None]
        seen = (age >= 0) & ((age < self.window) | far)
        return seen.permute(0, 3, 1, 2).repeat_interleave(self.heads // self.kv_heads, 1)

    def _pruned(self, entries: State) -> State:
        """Entries of the window, and as many before it as can be seen ever again; not all of these were kept."""
        kept = entries["kept"]
        count, room = kept.shape[1], self.buffer + self.sinks
        old = count - self.window
        if old <= room:
            return entries
        entry = torch.arange(count, device=kept.device)[:, None]
        rank = (entry + count * (kept > 0) + 2 * count * (entry < self.sinks))[:, :old]
        best = rank.topk(room, 1).indices.sort(1).values  # [B, room, G]
        found = {}
        for name, x in entries.items():
            places = best if x.dim() == 3 else best[..., None].expand(-1, -1, -1, x.shape[-1])
            found[name] = torch.cat([x.gather(1, places), x[:, old:]], 1)
        return found

    def _penalised(self, scores: Tensor) -> Tensor:
        """The same scores, with the gradient of a penalty where a head keeps more tokens than its buffer holds."""
        kept = (scores > 0).to(scores.dtype)
        many = (kept.sum(1, keepdim=True) > self.buffer).to(scores.dtype)
        slope = self.penalty / (scores.shape[0] * scores.shape[1])
        return with_gradient(scores, (slope * kept * many).detach())

    def initial_state(self, batch: int) -> State:
        """An empty cache, and nothing that the router has seen."""
        state = super().initial_state(batch)
        weight = self.input.weight
        sizes = enumerate(self.router.sizes[:LAYERS])
        inputs = {f"router{i}": weight.new_zeros(batch, PAST, self.kv_heads, size) for i, size in sizes}
        return {**state, **inputs, "kept": weight.new_zeros(batch, 0, self.kv_heads)}

    def state_after(self, batch: int, context: int) -> State:
        """Entries of zeros."""
        state = self.initial_state(batch)
        count = min(context, self.window + self.buffer + self.sinks)
        grown = {n: state[n].new_zeros(batch, count, *state[n].shape[2:]) for n in ("keys", "values", "kept")}
        return {**state, **grown, "position": context}

    def cost(self) -> PartCost:
        """The window and what may be kept beside it, with a mark each; what the router has seen."""
        size = self.key_size + self.value_size
        entries = Cache(
            elements=self.kv_heads * (size + 1),
            flops=2.0 * self.heads * size,
            window=self.window + self.buffer + self.sinks,
            heads=self.kv_heads,
        )
        router = PAST * self.kv_heads * sum(self.router.sizes[:LAYERS])
        return PartCost(
            **self.weights(),
            caches=(entries,),
            conv_elements=self.conv.cached * self.conv.channels + router,
        )
