"""SparseK attention."""

from typing import Any

import torch
from torch import Tensor, nn

from kernels import masked_attention
from search_space import limits
from search_space.checks import positive
from search_space.errors import InputError
from search_space.parts.base import Cache, Dims, PartCost, Scaling, State
from search_space.parts.cached_attention import CachedAttention

CANDIDATES = 2
"""Tokens that may share the weight of the selected ones, for each of these."""
HALVINGS = 40
"""Of the interval in which the threshold lies: to float32, of scores as far apart as 10^4."""


class SparseK(CachedAttention):
    """SparseK attention (2406.16747, section 3): a window, and the tokens before it with the highest scores.

    Each token has a score u = w x + c i for each key-value head, where i is its place. Of those that have left the
    window a query sees the `selected` ones with the largest u. Their keys and values are multiplied with gates p =
    clip(u - tau, 0, 1), where tau makes the gates of all candidates sum to `selected`; where there are not so many, all
    gates are 1. As tau never falls, a token that is out stays out, and is forgotten.

    Candidates are twice as many as are selected, those with the largest u; in the paper they are all tokens, whose
    scores would have to be kept. The slope c starts at 0 and is learned; the paper's values of it, of the window and of
    the number of selected tokens could not be checked.

    Args:
        dims: sizes of the model.
        window: tokens that are seen in any case, itself included.
        selected: tokens before the window that are seen.
        options: those of `Attention`, but for other activations than softmax.

    Raises:
        InputError: a size that is not a positive integer, and as `Attention`.
    """

    family = "sparse"
    source = (
        "Sparser is Faster and Less is More: Efficient Sparse Attention for Long-Range Transformers (arXiv 2406.16747)"
    )

    scaled = {**CachedAttention.scaled, "window": Scaling.LENGTH, "selected": Scaling.LENGTH}
    window: int  # type: ignore[assignment]

    def __init__(self, dims: Dims, *, window: int = 512, selected: int = 512, **options: Any):
        super().__init__(dims, **options)
        if self.activation != "softmax":
            raise InputError("activation", self.activation, "softmax")
        self.window = positive("window", window, limits.TOKENS)
        self.selected = positive("selected", selected, limits.TOKENS)
        self.score = nn.Linear(dims.width, self.kv_heads, bias=False)
        self.slope = nn.Parameter(torch.zeros(self.kv_heads))

    def attended(self, features: Tensor, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """The window, and the tokens whose scores select them."""
        state = state or self.initial_state(x.shape[0])
        position, past, length = state["position"], state["keys"].shape[1], x.shape[1]
        place = torch.arange(position, position + length, device=x.device)[:, None]
        scores = (self.score(x) + self.slope * place).to(state["scores"].dtype)
        q, k, v = self._heads(features, position)
        entries = {
            name: torch.cat([state[name], new], 1) for name, new in (("keys", k), ("values", v), ("scores", scores))
        }
        seen, gates = (
            y.repeat_interleave(self.heads // self.kv_heads, 1) for y in self._selection(entries["scores"], past)
        )
        o = masked_attention(q, entries["keys"], entries["values"], seen, gates=gates)
        return o, {**self._pruned(entries), "position": position + length}

    def _selection(self, scores: Tensor, past: int) -> tuple[Tensor, Tensor]:
        """Which entries are seen, and their gates, [B, G, T, entries]; scores [B, entries, G], `past` of them older."""
        count = scores.shape[1]
        entry = torch.arange(count, device=scores.device)
        age = entry[past:, None] - entry
        left = age >= self.window
        u = scores.mT.unsqueeze(2).masked_fill(~left, float("-inf"))  # [B, G, T, entries]
        ranked = u.detach().topk(min(CANDIDATES * self.selected, count), -1).values
        candidate = left & (u >= ranked[..., -1:])
        chosen = left & (u >= ranked[..., min(self.selected, count) - 1, None])
        few = (left.sum(-1) <= self.selected)[:, None]
        tau = self._threshold(u, candidate)
        gates = torch.where(few, 1.0, (scores.mT.unsqueeze(2) - tau).clamp(0, 1))
        near = (age >= 0) & ~left
        return near | chosen, torch.where(near, 1.0, gates)

    def _threshold(self, u: Tensor, candidate: Tensor) -> Tensor:
        """tau with sum clip(u - tau, 0, 1) = `selected` over candidates, [..., 1]; of no meaning where they are few."""
        with torch.no_grad():
            known = u.masked_fill(~candidate, -1e4)
            most = known.amax(-1, keepdim=True).clamp(min=-1e4)
            low, high = most - 1e4, most
            for _ in range(HALVINGS):
                middle = (low + high) / 2
                much = (known - middle).clamp(0, 1).sum(-1, keepdim=True) > self.selected
                low, high = torch.where(much, middle, low), torch.where(much, high, middle)
            over = known - (low + high) / 2
            full, part = over >= 1, (over > 0) & (over < 1)
        # Once more from those that it cuts, through which its gradient goes.
        shared = u.masked_fill(~part, 0.0).sum(-1, keepdim=True) + full.sum(-1, keepdim=True) - self.selected
        count = part.sum(-1, keepdim=True)
        return torch.where(count > 0, shared / count.clamp(min=1), (low + high) / 2)

    def _pruned(self, entries: State) -> State:
        """Entries of the window, and the candidates before it."""
        old, room = entries["scores"].shape[1] - self.window, CANDIDATES * self.selected
        if old <= room:
            return entries
        best = entries["scores"][:, :old].topk(room, 1).indices.sort(1).values  # [B, room, G]
        found = {}
        for name, x in entries.items():
            places = best if x.dim() == 3 else best[..., None].expand(-1, -1, -1, x.shape[-1])
            found[name] = torch.cat([x.gather(1, places), x[:, old:]], 1)
        return found

    def initial_state(self, batch: int) -> State:
        """An empty cache; scores are float32 at least."""
        state, weight = super().initial_state(batch), self.input.weight
        precision = torch.promote_types(weight.dtype, torch.float32)
        return {**state, "scores": weight.new_zeros(batch, 0, self.kv_heads, dtype=precision)}

    def state_after(self, batch: int, context: int) -> State:
        """Entries of zeros."""
        state = self.initial_state(batch)
        count = min(context, self.window + CANDIDATES * self.selected)
        grown = {n: state[n].new_zeros(batch, count, *state[n].shape[2:]) for n in ("keys", "values", "scores")}
        return {**state, **grown, "position": context}

    def cost(self) -> PartCost:
        """The window and the candidates, of which the selected ones are read."""
        size = self.key_size + self.value_size
        entries = Cache(
            elements=self.kv_heads * (size + 1),
            flops=2.0 * self.heads * size,
            window=self.window + CANDIDATES * self.selected,
            reads=self.window + self.selected,
            heads=self.kv_heads,
        )
        return PartCost(
            **self.weights(), caches=(entries,), conv_elements=self.conv.cached * self.conv.channels
        )  # fmt: skip
