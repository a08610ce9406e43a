"""Softmax attention that reads keys and values of a layer below."""

from typing import Any

from torch import Tensor, nn

from kernels import rotary, softmax_attention
from search_space.checks import switch
from search_space.parts.base import Below, Cache, Dims, KeysForm, PartCost, State
from search_space.parts.heads import AttentionHeads
from search_space.parts.nn import RMSNorm


class SharedAttention(AttentionHeads):
    """Attention with queries alone: keys and values are those of the nearest layer of attention below that fits.

    That is cross-layer attention (CLA, 2405.12981, section 3.1), where the layers of a pair, or a few in a row, share
    one cache; and with all of a model's upper layers above one layer of attention, the cross-decoder of YOCO
    (2405.05254, section 2.1). Keys are read as the layer below has turned them.

    A layer fits that is `attention` or `gated_attention`, alone or in a branch of `parallel`, with the same heads,
    sizes and positions; its keys may in turn come from embeddings (`keys_from`). Without one a layout is refused.

    Args:
        dims: sizes of the model.
        heads: query heads; None means those of the model.
        kv_heads: key-value heads of the layer below; None means those of the model, or `heads` where that is given.
        key_size: of each head, even; None means width / heads.
        value_size: of each head; None means width / heads.
        rope_theta: base of the rotary wavelengths; None means no positions.
        qk_norm: whether queries of each head pass an RMS norm ahead of the positions, as keys of the layer below do.

    Raises:
        InputError: sizes that are not positive integers, do not divide, or an odd key size.
    """

    source = "Reducing Transformer Key-Value Cache Size with Cross-Layer Attention (arXiv 2405.12981)"
    family = "attention"
    takes_below = True

    def __init__(self, dims: Dims, *, qk_norm: bool = False, **options: Any):
        super().__init__(dims, **options)
        self.query = nn.Linear(dims.width, self.heads * self.key_size, bias=False)
        self.norm = RMSNorm(self.key_size) if switch("qk_norm", qk_norm) else None
        self.output = nn.Linear(self.heads * self.value_size, dims.width, bias=False)

    @property
    def reads(self) -> tuple[KeysForm, ...]:  # type: ignore[override]
        """Keys and values of its own form."""
        return (self.form,)

    def forward(self, x: Tensor, state: State | None = None, below: Below | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D]; see `Mixer.forward`.

        Raises:
            ValueError: nothing lies below.
        """
        if below is None:
            raise ValueError("shared attention: expected keys and values of a layer below, in a Below")
        position = state["position"] if state else 0
        q = self.query(x).unflatten(-1, (self.heads, self.key_size))
        q = q if self.norm is None else self.norm(q)
        q = q if self.rope_theta is None else rotary(q, position, self.rope_theta)
        o, _ = softmax_attention(q, *below.read(self.form), window=self.window)
        return self.output(o.flatten(-2)), {"position": position + x.shape[1]}

    def step(self, x: Tensor, state: State, below: Below | None = None) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        y, state = self(x.unsqueeze(1), state, below)
        return y.squeeze(1), state

    def initial_state(self, batch: int) -> State:
        """Nothing of its own, but the number of tokens."""
        return {"position": 0}

    def state_after(self, batch: int, context: int) -> State:
        """Likewise."""
        return {"position": context}

    def cost(self) -> PartCost:
        """The FLOPs and the reading of a cache that another layer keeps."""
        size, heads = self.key_size + self.value_size, self.kv_heads
        cache = Cache(
            elements=heads * size, flops=2.0 * self.heads * size, window=self.window, owned=False, heads=heads
        )
        return PartCost(**self.weights(), caches=(cache,))
