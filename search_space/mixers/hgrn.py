"""HGRN."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kernels import gated_scan, gated_scan_step
from search_space.checks import positive
from search_space.parts.base import Dims, Mixer, PartCost, Scaling, State
from search_space.parts.forget_gate import ForgetGate
from search_space.parts.nn import RMSNorm, ShortConvolution


class HGRN(Mixer):
    """HGRN (2311.04823) with a real state, as the released models have it: a gated recurrence by element.

    h_t = f_t h_{t-1} + (1 - f_t) silu(W_i x_t) with the forget gate f_t of W_f x_t; an RMS norm and a SiLU gate
    follow.

    f_t stays above a lower bound that rises from layer to layer; `ForgetGate` says how.

    Args:
        dims: sizes of the model.
        state_size: elements of the state; None means width.
        conv: width of a short convolution over inputs and forget gates; 0 means none.

    Raises:
        InputError: a state size that is not a positive integer.
    """

    source = "Hierarchically Gated Recurrent Neural Network for Sequence Modeling (arXiv 2311.04823)"
    family = "vector"

    scaled = {"state_size": Scaling.WIDTH}

    def __init__(self, dims: Dims, *, state_size: int | None = None, conv: int = 0):
        super().__init__()
        size = dims.width if state_size is None else positive("state_size", state_size)
        self.state_size = size
        self.input = nn.Linear(dims.width, 3 * size, bias=False)
        self.conv = ShortConvolution(2 * size, conv, activation=False)
        self.gate = ForgetGate(size)
        self.norm = RMSNorm(size)
        self.output = nn.Linear(size, dims.width, bias=False)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D]; see `Mixer.forward`."""
        state = state or {}
        features, gate = self.input(x).split([2 * self.state_size, self.state_size], -1)
        features, conv = self.conv(features, state.get("conv"))
        h, memory = gated_scan(*self._recurrence(features), initial_state=state.get("memory"))
        return self.output(self.norm(h, gate)), {"memory": memory, "conv": conv}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        features, gate = self.input(x).split([2 * self.state_size, self.state_size], -1)
        features, conv = self.conv.step(features, state["conv"])
        h, memory = gated_scan_step(*self._recurrence(features), state["memory"])
        return self.output(self.norm(h, gate)), {"memory": memory, "conv": conv}

    def _recurrence(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """What enters the state, and its log decay; both [..., state_size]."""
        entering, forget = features.chunk(2, -1)
        complement, log_forget = self.gate(forget)
        return F.silu(entering) * complement, log_forget

    @classmethod
    def share(cls, mixers: Sequence["HGRN"]) -> None:
        """One table of lower bounds for all layers."""
        ForgetGate.share([mixer.gate for mixer in mixers])

    def initial_state(self, batch: int) -> State:
        """No memory, nothing convolved yet; the memory is float32 at least."""
        weight = self.input.weight
        precision = torch.promote_types(weight.dtype, torch.float32)
        memory = weight.new_zeros(batch, self.state_size, dtype=precision)
        return {"memory": memory, "conv": self.conv.initial_cache(weight, batch)}

    def cost(self) -> PartCost:
        """The state; a scan costs as much at once as step by step."""
        flops = 5.0 * self.state_size
        return PartCost(
            **self.weights(),
            state_elements=self.state_size,
            conv_elements=self.conv.cached * self.conv.channels,
            decode_flops=flops,
            prefill_flops=flops,
        )
