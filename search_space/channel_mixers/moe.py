"""Mixture of experts.

Shapes: "..." is B, T (in a step: B), D model width, E experts, K experts that a token uses, F hidden units of one.
"""

import torch
from torch import Tensor, nn

from kernels import swiglu
from search_space.checks import not_negative, positive, switch
from search_space.errors import InputError, one_of
from search_space.parts.base import ChannelMixer, Dims, Experts, PartCost, Scaling
from search_space.parts.gradient import balanced
from search_space.parts.mlp import hidden_units

ACTIVATIONS = ["swiglu", "relu2"]
ROUTERS = ["softmax", "sigmoid"]


class MixtureOfExperts(ChannelMixer):
    """Each token goes to K of E feed-forward layers, and to a shared one where there is one (1701.06538; 2101.03961).

    y = sum over the K largest p_e of p_e FFN_e(x) + sigmoid(w x) FFN_shared(x), with p = softmax(W x), scaled so that
    the K sum to 1. Training adds the auxiliary loss of 2101.03961 (equation 4), E sum f_e mean(p_e) with f_e the share
    of the places that expert e got: its gradient joins that of p, so that whoever trains need not know. The defaults
    are Linear-MoE's A0.3B (2503.05447): 64 experts of 896 at width 1024, 8 of them used. No token is dropped.

    All experts are computed, and those that a token does not use count nothing: with the small experts of a proxy that
    is the fastest, and it runs under `torch.vmap`. A few tokens, as in a decode step, read only the experts they use.

    Args:
        dims: sizes of the model.
        experts: E.
        top_k: K, experts that a token uses.
        ratio: hidden width F of each expert over the width of the model.
        shared: hidden width of an expert that every token uses, likewise; None means that there is none.
        shared_gate: whether a sigmoid of the token gates it, as in Qwen3-Next.
        normalise: whether the K weights are scaled to sum to 1.
        router: softmax, or sigmoid of each expert by itself, as in Kimi Linear.
        activation: swiglu, or relu2 without a gate, as in Nemotron 3.
        balance: weight of the auxiliary loss.

    Raises:
        InputError: sizes that are not positive, more experts used than there are, or an unknown name.
    """

    source = "Linear-MoE: Linear Sequence Modeling Meets Mixture-of-Experts (arXiv 2503.05447)"
    scaled = {
        "experts": Scaling.EXPERTS,
        "top_k": Scaling.EXPERTS_USED,
        "ratio": Scaling.EXPERT_RATIO,
        "shared": Scaling.MLP_RATIO,
    }

    def __init__(
        self,
        dims: Dims,
        *,
        experts: int = 64,
        top_k: int = 8,
        ratio: float = 0.875,
        shared: float | None = None,
        shared_gate: bool = False,
        normalise: bool = True,
        router: str = "softmax",
        activation: str = "swiglu",
        balance: float = 0.01,
    ):
        super().__init__()
        self.experts, self.top_k = positive("experts", experts), positive("top_k", top_k, experts)
        if router not in ROUTERS:
            raise InputError("router", router, one_of(router, ROUTERS))
        if activation not in ACTIVATIONS:
            raise InputError("activation", activation, one_of(activation, ACTIVATIONS))
        if switch("shared_gate", shared_gate) and shared is None:
            raise InputError("shared_gate", shared_gate, "false where there is no shared expert")
        self.sigmoid, self.gated, self.normalise = (
            router == "sigmoid",
            activation == "swiglu",
            switch("normalise", normalise),
        )
        self.balance = not_negative("balance", balance)
        hidden = hidden_units("ratio", ratio, dims.width)
        self.ratio, columns = hidden / dims.width, 2 if self.gated else 1
        self.router = nn.Linear(dims.width, experts, bias=False)
        self.input = nn.Parameter(_uniform(experts, dims.width, columns * hidden))
        self.output = nn.Parameter(_uniform(experts, hidden, dims.width))
        self.shared: float | None = None
        if shared is not None:
            hidden = hidden_units("shared", shared, dims.width)
            self.shared = hidden / dims.width
            self.shared_input = nn.Linear(dims.width, columns * hidden, bias=False)
            self.shared_output = nn.Linear(hidden, dims.width, bias=False)
        self.shared_gate = nn.Linear(dims.width, 1, bias=False) if shared_gate else None

    def forward(self, x: Tensor) -> Tensor:
        """Maps [..., D] to [..., D]."""
        scores = self.router(x).float()
        chances = scores.sigmoid() if self.sigmoid else scores.softmax(-1)
        chosen = chances.topk(self.top_k, -1).indices
        if self.balance:
            chances = balanced(chances, chosen, self.balance)
        weights = chances.gather(-1, chosen)
        if self.normalise:
            weights = weights / weights.sum(-1, keepdim=True)
        if x.shape[:-1].numel() * self.top_k < self.experts:
            hidden = torch.einsum("...d,...kdf->...kf", x, self.input[chosen])
            weighted = (self._activate(hidden) * weights[..., None]).to(hidden.dtype)
            y = torch.einsum("...kf,...kfd->...d", weighted, self.output[chosen])
        else:
            weights = torch.zeros_like(chances).scatter(-1, chosen, weights)
            hidden = torch.einsum("...d,edf->...ef", x, self.input)
            weighted = (self._activate(hidden) * weights[..., None]).to(hidden.dtype)
            y = torch.einsum("...ef,efd->...d", weighted, self.output)
        if self.shared is None:
            return y
        also = self.shared_output(self._activate(self.shared_input(x)))
        return y + (also if self.shared_gate is None else also * self.shared_gate(x).sigmoid())

    def _activate(self, features: Tensor) -> Tensor:
        return swiglu(features) if self.gated else features.relu().square()

    def zero_output(self) -> None:
        """Zeroes the last matrices of all experts."""
        nn.init.zeros_(self.output)
        if self.shared is not None:
            nn.init.zeros_(self.shared_output.weight)

    def cost(self) -> PartCost:
        """All experts are kept, and those that a token uses are computed; a step reads those that its batch uses."""
        weights = self.weights()  # with the products of router and shared expert
        each = (self.input.numel() + self.output.numel()) // self.experts
        weights["product_flops"] += 2.0 * self.top_k * each
        return PartCost(**weights, experts=(Experts(count=self.experts, used=self.top_k, parameters=each),))


def _uniform(experts: int, inputs: int, outputs: int) -> Tensor:
    """Matrices [experts, inputs, outputs] with the initial values of `nn.Linear`."""
    return torch.empty(experts, inputs, outputs).uniform_(-(inputs**-0.5), inputs**-0.5)
