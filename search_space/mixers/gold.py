"""The two layers of GOLD: attention above a recurrent model, over one compressed cache."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from kernels import rms_norm, softmax_attention
from kernels.softmax_attention.cache import append
from search_space.checks import positive
from search_space.errors import InputError
from search_space.parts.base import Below, Cache, Dims, KeysForm, Mixer, PartCost, Scaling, State
from search_space.parts.rwkv import SMALL, LowRank, Place, later

COMPRESSION = 16
"""Elements of the model's width for each that is kept of a token, as published."""
SMALLEST_RANK = 64
"""Least rank of what a layer adds to keys and values, as published."""


class GoldAttention(Mixer):
    """Attention that makes keys and values of what all its kind read of a token: one key and its embedding, of D each.

    Queries come of W_q applied to x_t and the token before. Of the shared keys k_t and embeddings e_t a layer takes
    k_t + m (k_{t-1} - k_t), with m = mu + B tanh(A (e_t + nu (e_{t-1} - e_t))), and adds to the result y a low-rank
    W_2 tanh(W_1 y); of the embeddings it likewise makes values, with maps of their own. Queries, keys and values pass a
    layer norm over all heads, and so does what they read, ahead of W_o. There are no positions: the tokens before tell
    the order. The norm of keys has no bias here, as no softmax sees what all tokens have in common. Initial values are
    the authors', which depend on depth; but projections start as all here do, and low-rank maps near zero, not at zero
    (see `LowRank`).

    Args:
        dims: sizes of the model, and the place in it.
        heads: number of heads; None means those of the model.
        shift_rank: rank of each map m.
        expansion_rank: rank of what is added to keys and to values; None means width / 16, and at least 64.

    Raises:
        InputError: sizes that are not positive integers, or heads that do not divide the width.
    """

    source = (
        "GoldFinch: High Performance RWKV/Transformer Hybrid with Linear Pre-Fill and Extreme KV-Cache Compression "
        "(arXiv 2407.12077)"
    )
    family = "attention"
    takes_below = True

    scaled = {"heads": Scaling.ATTENTION_HEADS, "shift_rank": Scaling.WIDTH, "expansion_rank": Scaling.WIDTH}

    def __init__(
        self, dims: Dims, *, heads: int | None = None, shift_rank: int = 32, expansion_rank: int | None = None
    ):
        super().__init__()
        width = dims.width
        self.width, self.heads = width, positive("heads", dims.heads if heads is None else heads)
        if width % self.heads:
            raise InputError("heads", self.heads, f"a divisor of {width}")
        self.shift_rank = positive("shift_rank", shift_rank)
        rank = max(SMALLEST_RANK, width // COMPRESSION) if expansion_rank is None else expansion_rank
        self.expansion_rank = positive("expansion_rank", rank)
        place = Place.of(dims)
        slow, fast = 1 - place.ramp**place.up, 1 - place.ramp ** (place.up / 2)
        self.query_shift, self.cache_shift = (nn.Parameter(slow.clone()) for _ in range(2))
        self.query_mix = LowRank(width, shift_rank, width, fast, "tanh")
        # Of every token of the cache:
        self.key_mix = LowRank(width, shift_rank, width, slow, "tanh")
        self.value_mix = LowRank(width, shift_rank, width, slow - 0.3 * place.down, "tanh")
        self.key_expansion = LowRank(width, self.expansion_rank, width, None, "tanh")
        self.value_expansion = LowRank(width, self.expansion_rank, width, None, "tanh")
        for part in (self.query_mix, self.key_mix, self.value_mix, self.key_expansion, self.value_expansion):
            nn.init.uniform_(part.second.weight, -SMALL, SMALL)
        self.query = nn.Linear(width, width, bias=False)
        self.query_norm, self.value_norm, self.norm = (nn.LayerNorm(width) for _ in range(3))
        self.key_norm = nn.LayerNorm(width, bias=False)
        nn.init.constant_(self.norm.weight, ((dims.layer + 1) / dims.layers) ** 0.7)
        self.output = nn.Linear(width, width, bias=False)

    @property
    def form(self) -> KeysForm:
        """That of the shared keys and embeddings, as its keys and values."""
        return KeysForm(
            heads=1, kv_heads=1, key_size=self.width, value_size=self.width, rope_theta=None, window=None, of="gold"
        )

    @abstractmethod
    def shared(self, x: Tensor, state: State | None, below: Below) -> tuple[Tensor, Tensor, State]:
        """Shared keys and embeddings of all tokens so far, [B, P + T, D] each, and what to remember of them.

        Args:
            x: the layer's input [B, T, D].
            state: before it.
            below: with the tokens, and what layers below show.
        """

    def forward(self, x: Tensor, state: State | None = None, below: Below | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D]; see `Mixer.forward`.

        Raises:
            ValueError: nothing lies below, or embeddings without their tokens.
        """
        if below is None or below.tokens is None:
            raise ValueError("gold: expected tokens and their embeddings, in a Below, beside the input")
        keys, embeddings, kept = self.shared(x, state, below)
        delta = later(x, state["last"] if state else None) - x
        q = self.query(x + delta * self.query_mix(x + delta * self.query_shift).to(x.dtype))
        change = later(embeddings) - embeddings
        shifted = embeddings + change * self.cache_shift.to(x.dtype)
        k = keys + (later(keys) - keys) * self.key_mix(shifted)
        v = embeddings + change * self.value_mix(shifted)
        k, v = k + self.key_expansion(k), v + self.value_expansion(v)
        normed = zip((self.query_norm, self.key_norm, self.value_norm), (q, k, v), strict=True)
        q, k, v = (norm(y).to(q.dtype).unflatten(-1, (self.heads, -1)) for norm, y in normed)
        o, _ = softmax_attention(q, k, v)
        return self.output(self.norm(o.flatten(-2)).to(o.dtype)), {**kept, "last": x[:, -1]}

    def step(self, x: Tensor, state: State, below: Below | None = None) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        y, state = self(x.unsqueeze(1), state, below)
        return y.squeeze(1), state

    def initial_state(self, batch: int) -> State:
        """Zeros for the token before the first."""
        return {"last": self.output.weight.new_zeros(batch, self.width)}

    def made_flops(self, *more: nn.Module) -> float:
        """FLOPs of making the keys and values of a token anew, as a step does for all of them.

        Args:
            more: maps that are applied to each, beside those of all layers.
        """
        parts = (self.key_mix, self.value_mix, self.key_expansion, self.value_expansion, *more)
        return 2.0 * sum(m.weight.numel() for part in parts for m in part.modules() if isinstance(m, nn.Linear))

    @property
    def attended_flops(self) -> float:
        """FLOPs of comparing a query with the key of a token, and of reading its value."""
        return 4.0 * self.width


class Gold(GoldAttention):
    """GOLD (2407.12077), the first such layer of a model: it makes the one cache that all of them read.

    Of a token are kept c_t = W_c x_t, of R elements, and its number; e_t is a layer norm of its embedding, which the
    model's table has, and k_t = RMS(W_u [e_t, c_t]). W_c and W_u are thus the model's only ones, and the layers above
    are `shared_gold`. They read e_t through an RMS norm without gains. The body has the attention of them all
    (`GoldAttention`).

    Equations are those of the released code (recursal/GoldFinch-paper), but for two: c_t is made of the layer's input,
    which passed a norm, where theirs is made of the residual stream; and the layer norm of embeddings is this layer's
    own, where theirs is the model's, ahead of its first layer. As there, a step makes keys and values of all tokens
    anew: that saves memory, and costs far more FLOPs than attention does. A prompt runs through all layers, and is
    priced so; the paper spares it the upper ones, but for its last tokens.

    Args:
        dims: sizes of the model, and the place in it.
        rank: R; None means width / 16.
        options: those of `GoldAttention`: heads, shift_rank, expansion_rank.

    Raises:
        InputError: sizes that are not positive integers, or heads that do not divide the width.
    """

    scaled = {**GoldAttention.scaled, "rank": Scaling.WIDTH}

    def __init__(self, dims: Dims, *, rank: int | None = None, **options: Any):
        super().__init__(dims, **options)
        self.rank = positive("rank", max(1, dims.width // COMPRESSION) if rank is None else rank)
        self.embedding_norm = nn.LayerNorm(dims.width)
        self.compression = nn.Linear(dims.width, self.rank, bias=False)
        self.decompression = nn.Linear(dims.width + self.rank, dims.width, bias=False)

    @property
    def offers(self) -> tuple[KeysForm, ...]:  # type: ignore[override]
        """The shared keys and embeddings."""
        return (self.form,)

    def lend(self, form: KeysForm) -> None:
        """It shows them at all times."""

    def shared(self, x: Tensor, state: State | None, below: Below) -> tuple[Tensor, Tensor, State]:
        """Made of the cache and of the tokens' embeddings."""
        latents, embeddings, tokens = self.compression(x), below.embeddings, below.tokens
        assert tokens is not None and below.embed is not None
        tokens, embeddings = tokens.reshape(x.shape[:2]), embeddings.reshape(x.shape)
        if state:
            tokens, latents = append(state["tokens"], tokens), append(state["latents"], latents)
            embeddings = below.embed(tokens)
        embeddings = self.embedding_norm(embeddings).to(latents.dtype)
        keys = _rms(self.decompression(torch.cat([embeddings, latents], -1)))
        embeddings = _rms(embeddings)
        below.offer(self.form, keys.unsqueeze(2), embeddings.unsqueeze(2))
        return keys, embeddings, {"tokens": tokens, "latents": latents}

    def initial_state(self, batch: int) -> State:
        """No tokens yet."""
        weight = self.output.weight
        return {
            **super().initial_state(batch),
            "tokens": weight.new_zeros(batch, 0, dtype=torch.long),
            "latents": weight.new_zeros(batch, 0, self.rank),
        }

    def cost(self) -> PartCost:
        """What is kept of each token is its latent and its number; its embedding is read of the model's table."""
        made = self.made_flops(self.decompression)
        cache = Cache(
            elements=self.rank + 1,
            flops=self.attended_flops + made,
            prefill_flops=self.attended_flops,
            heads=1,
        )
        table = Cache(elements=self.width, flops=0.0, owned=False, heads=1)
        return PartCost(**self.weights(), caches=(cache, table), conv_elements=self.width)


class SharedGold(GoldAttention):
    """GOLD (2407.12077) in the layers above the first: attention over the cache of the nearest `gold` below.

    It keeps nothing but the input before. The shared keys and embeddings that it reads are made once in a step, by
    `gold`, and are no part of the cache.

    Args:
        dims: sizes of the model, and the place in it.
        options: those of `GoldAttention`: heads, shift_rank, expansion_rank.

    Raises:
        InputError: sizes that are not positive integers, or heads that do not divide the width.
    """

    @property
    def reads(self) -> tuple[KeysForm, ...]:  # type: ignore[override]
        """The shared keys and embeddings."""
        return (self.form,)

    def shared(self, x: Tensor, state: State | None, below: Below) -> tuple[Tensor, Tensor, State]:
        """As the layer below has made them."""
        keys, embeddings = below.read(self.form)
        return keys.squeeze(2), embeddings.squeeze(2), {}

    def cost(self) -> PartCost:
        """The reading of what is made by another layer, and the FLOPs of its own keys and values."""
        cache = Cache(
            elements=2 * self.width,
            flops=self.attended_flops + self.made_flops(),
            prefill_flops=self.attended_flops,
            owned=False,
            heads=1,
        )
        return PartCost(**self.weights(), caches=(cache,), conv_elements=self.width)


def _rms(x: Tensor) -> Tensor:
    """x [..., D] over the root of its mean square."""
    return rms_norm(x, x.new_ones(x.shape[-1]))
