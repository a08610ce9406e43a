"""LightNet."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.checks import head_size
from search_space.parts.base import Dims, PartCost, State
from search_space.parts.matrix_state import MatrixStateMixer
from search_space.parts.nn import OutputGate


class LightNet(MatrixStateMixer):
    """LightNet (2405.21022, for one dimension, causal): linear attention whose keys are a softmax over time.

    Key s counts with exp(k_s) / sum_{r <= t} exp(k_r) for token t, element by element. With z_t the logarithm of that
    sum, it is S_t = diag(exp(z_{t-1} - z_t)) S_{t-1} + exp(k_t - z_t) v_t^T: what is new takes its share from what is
    old. Queries go through SiLU, the output through one RMS norm over all heads and a SiLU gate of rank V.

    Args:
        dims: sizes of the model.
        heads: number of heads; None means one for every 128 of the width.
        key_size: of each head; None means width / heads.
        value_size: of each head, and the rank of the gate; None means width / heads.
        conv: width of a short convolution over queries, keys and values; 0 means none.

    Raises:
        InputError: sizes that are not positive integers or do not divide.
    """

    source = "You Only Scan Once: Efficient Multi-dimension Sequential Modeling with LightNet (arXiv 2405.21022)"

    def __init__(
        self,
        dims: Dims,
        *,
        heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        conv: int = 0,
    ):
        heads = max(1, dims.width // 128) if heads is None else heads
        value_size = head_size("value_size", value_size, heads, dims.width)
        super().__init__(
            dims,
            heads=heads,
            key_size=head_size("key_size", key_size, heads, dims.width),
            value_size=value_size,
            conv=conv,
            activation=False,
            gated=True,
            gate_size=value_size,
            norm_size=heads * value_size,
        )
        self.gate = nn.Linear(value_size, heads * value_size, bias=False)
        self.output_gate = OutputGate()

    def recurrence(self, qk: Tensor, v: Tensor, extra: Tensor, position: int) -> tuple[Tensor | None, ...]:
        """Queries, shares of keys, values, and decay by key.

        Args:
            qk: queries, then keys, [..., 2 H, K].
            v: values [..., H, V].
            extra: z of the token before, then of this one, [..., 2 H, K].
            position: place of the first token in its sequence.
        """
        q, k = qk.chunk(2, -2)
        before, total = extra.chunk(2, -2)
        return F.silu(q), (k - total).exp().to(v.dtype), v, before - total

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D]; see `Mixer.forward`."""
        state = state or {}
        position = state.get("position", 0)
        features, gate, _ = self.input(x).split(self.sizes, -1)
        features, conv = self.conv(features, state.get("conv"))
        qk, v = self._heads(features)
        k = qk[..., self.heads :, :]
        k = k.to(torch.promote_types(k.dtype, torch.float32))
        # The first token of all has nothing to take a share from: its decay is of no account.
        sums = k if position == 0 else torch.cat([state["total"].unsqueeze(1), k], 1)
        sums = sums.logcumsumexp(1)
        total, before = sums[:, -x.shape[1] :], sums[:, : x.shape[1]]
        if position == 0:
            before = torch.cat([sums[:, :1], sums[:, :-1]], 1)
        inputs = self.recurrence(qk, v, torch.cat([before, total], -2), position)
        o, memory = self.operator(*inputs, initial_state=state.get("memory"))
        new = {"memory": memory, "conv": conv, "total": total[:, -1], "position": position + x.shape[1]}
        return self.output(self.read(o, v, gate)), new

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        features, gate, _ = self.input(x).split(self.sizes, -1)
        features, conv = self.conv.step(features, state["conv"])
        qk, v = self._heads(features)
        k = qk[..., self.heads :, :].to(state["total"].dtype)
        first = state["position"] == 0
        total = k if first else torch.logaddexp(state["total"], k)
        sums = torch.cat([total if first else state["total"], total], -2)
        inputs = self.recurrence(qk, v, sums, state["position"])
        o, memory = self.step_operator(*inputs, state["memory"])
        new = {"memory": memory, "conv": conv, "total": total, "position": state["position"] + 1}
        return self.output(self.read(o, v, gate)), new

    def read(self, o: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        """One norm, then the gate."""
        return self.norm(o.flatten(-2)) * self.output_gate(self.gate(gate))

    def initial_state(self, batch: int) -> State:
        """With a sum that the first token replaces."""
        state = super().initial_state(batch)
        return {**state, "total": state["memory"][..., 0].clone()}

    def cost(self) -> PartCost:
        """With z, which takes two exponentials, a logarithm and a sum for each key element."""
        cost, keys = super().cost(), self.heads * self.key_size
        flops = {name: getattr(cost, name) + 4.0 * keys for name in ("decode_flops", "prefill_flops")}
        return replace(cost, state_elements=cost.state_elements + keys, **flops)
