"""Multi-head latent attention."""

import torch
from torch import Tensor, nn

from kernels import rotary, softmax_attention
from kernels.softmax_attention.cache import append
from search_space.checks import head_size, positive, rotary_base
from search_space.errors import InputError
from search_space.parts.base import Cache, Dims, Mixer, PartCost, Scaling, State
from search_space.parts.nn import RMSNorm

LATENT_HEADS = 4
"""Sizes of a head in a latent, in DeepSeek-V2."""


class LatentAttention(Mixer):
    """Multi-head latent attention (MLA, 2405.04434, section 2.1): keys and values of all heads come from one latent.

    Of a token are kept its latent c = norm(W_c x) of rank R, and one key of P elements with rotary positions that all
    heads share. Each head's key is [W_k c, shared key] and its value W_v c. A prompt makes keys and values; a step
    instead moves W_k to the query and W_v behind the sum, so that it reads nothing but the latents.

    Queries come straight from the input, as in DeepSeek-V2-Lite and Kimi Linear (2510.26692, whose MLA has no
    positions: `rope_theta` null); the larger DeepSeek models give them a latent of their own.

    Args:
        dims: sizes of the model.
        heads: H; None means those of the model.
        key_size: of the part of a head's key that has no position; None means width / heads.
        value_size: of each head; None means width / heads.
        rope_size: P, even; None means half of `key_size`, as in DeepSeek-V2.
        rank: R; None means four times `key_size`, as in DeepSeek-V2.
        rope_theta: base of the rotary wavelengths; None means no positions.

    Raises:
        InputError: sizes that are not positive integers, do not divide, or an odd `rope_size`.
    """

    source = "DeepSeek-V2: A Strong, Economical, and Efficient Mixture-of-Experts Language Model (arXiv 2405.04434)"
    family = "attention"

    scaled = {
        "heads": Scaling.ATTENTION_HEADS,
        "key_size": Scaling.ATTENTION_HEAD_SIZE,
        "value_size": Scaling.ATTENTION_HEAD_SIZE,
        "rope_size": Scaling.ATTENTION_HEAD_SIZE,
        "rank": Scaling.WIDTH,
    }

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        rope_size: int | None = None,
        rank: int | None = None,
        rope_theta: float | None = 10000.0,
    ):
        super().__init__()
        self.heads = positive("heads", dims.heads if heads is None else heads)
        self.key_size = head_size("key_size", key_size, self.heads, dims.width)
        self.value_size = head_size("value_size", value_size, self.heads, dims.width)
        half = 2 * max(1, self.key_size // 4)
        self.rope_size = half if rope_size is None else positive("rope_size", rope_size)
        self.rank = LATENT_HEADS * self.key_size if rank is None else positive("rank", rank)
        if self.rope_size % 2:
            raise InputError("rope_size", rope_size, "an even number, since pairs are rotated")
        self.rope_theta = None if rope_theta is None else rotary_base(rope_theta, self.rope_size)
        self.sizes = [self.heads * (self.key_size + self.rope_size), self.rank, self.rope_size]
        self.input = nn.Linear(dims.width, sum(self.sizes), bias=False)
        self.norm = RMSNorm(self.rank)
        self.expansion = nn.Linear(self.rank, self.heads * (self.key_size + self.value_size), bias=False)
        self.output = nn.Linear(self.heads * self.value_size, dims.width, bias=False)
        self.scale = (self.key_size + self.rope_size) ** -0.5

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D]; see `Mixer.forward`."""
        position = state["position"] if state else 0
        q, q_rope, latents = self._project(x, position)
        if state:
            latents = append(state["latents"], latents)
        latent, shared = latents.split([self.rank, self.rope_size], -1)
        expanded = self.expansion(latent).unflatten(-1, (self.heads, -1))
        k, v = expanded.split([self.key_size, self.value_size], -1)
        k = torch.cat([k, shared.unsqueeze(-2).expand(*k.shape[:-1], -1)], -1)
        o, _ = softmax_attention(torch.cat([q, q_rope], -1), k, v, scale=self.scale)
        return self.output(o.flatten(-2)), {"latents": latents, "position": position + x.shape[1]}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        q, q_rope, latent = self._project(x.unsqueeze(1), state["position"])
        latents = append(state["latents"], latent)
        keys, values = self.expansion.weight.unflatten(0, (self.heads, -1)).split([self.key_size, self.value_size], 1)
        q = torch.cat([torch.einsum("bthk,hkr->bthr", q, keys), q_rope], -1)
        shared = latents.unsqueeze(2)  # one head of keys, whose first elements are its values
        o, _ = softmax_attention(q, shared, shared[..., : self.rank], scale=self.scale)
        o = torch.einsum("bthr,hvr->bthv", o, values)
        return self.output(o[:, 0].flatten(-2)), {"latents": latents, "position": state["position"] + 1}

    def _project(self, x: Tensor, position: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [B, T, H, key_size] and their part with positions [B, T, H, P], and latents [B, T, R + P]."""
        q, latent, shared = self.input(x).split(self.sizes, -1)
        q, q_rope = q.unflatten(-1, (self.heads, -1)).split([self.key_size, self.rope_size], -1)
        if self.rope_theta is not None:
            turned = rotary(torch.cat([q_rope, shared.unsqueeze(-2)], -2), position, self.rope_theta)
            q_rope, shared = turned[..., :-1, :], turned[..., -1, :]
        return q, q_rope, torch.cat([self.norm(latent), shared], -1)

    def initial_state(self, batch: int) -> State:
        """No latents yet."""
        return {"latents": self.input.weight.new_zeros(batch, 0, self.rank + self.rope_size), "position": 0}

    def cost(self) -> PartCost:
        """The latents; a step compares queries with them, a prompt with keys as wide as those of attention."""
        step = 2.0 * self.heads * (2 * self.rank + self.rope_size)
        prompt = 2.0 * self.heads * (self.key_size + self.rope_size + self.value_size)
        cache = Cache(elements=self.rank + self.rope_size, flops=step, prefill_flops=prompt, heads=1)
        return PartCost(**self.weights(), caches=(cache,))
