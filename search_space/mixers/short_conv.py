"""The gated short convolution."""

from torch import Tensor, nn

from search_space.checks import positive
from search_space.errors import InputError
from search_space.parts.base import Dims, Mixer, PartCost, State
from search_space.parts.nn import ShortConvolution


class ShortConv(Mixer):
    """The gated short convolution of LFM2 (2511.23404, section 2): it sees the last few tokens and no more.

    y = W_o (c * conv(b * u)) with [b, c, u] = W_i x: without activation, bias or norm. It needs partners that see
    further back.

    Args:
        dims: sizes of the model.
        conv: width of the convolution, 2 at least; LFM2 has 3.

    Raises:
        InputError: a width below 2, or none.
    """

    source = "LFM2 Technical Report (arXiv 2511.23404)"
    family = "convolution"

    def __init__(self, dims: Dims, *, conv: int = 3):
        super().__init__()
        if positive("conv", conv) < 2:
            raise InputError("conv", conv, "a width of 2 at least")
        self.input = nn.Linear(dims.width, 3 * dims.width, bias=False)
        self.conv = ShortConvolution(dims.width, conv, activation=False)
        self.output = nn.Linear(dims.width, dims.width, bias=False)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D]; see `Mixer.forward`."""
        before, after, u = self.input(x).chunk(3, -1)
        y, conv = self.conv(before * u, state and state["conv"])
        return self.output(after * y), {"conv": conv}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        before, after, u = self.input(x).chunk(3, -1)
        y, conv = self.conv.step(before * u, state["conv"])
        return self.output(after * y), {"conv": conv}

    def initial_state(self, batch: int) -> State:
        """Nothing convolved yet."""
        return {"conv": self.conv.initial_cache(self.conv.weight, batch)}

    def cost(self) -> PartCost:
        """The cached tokens; the convolution and both gates."""
        flops = 2.0 * self.conv.channels * (self.conv.width + 1)
        return PartCost(
            **self.weights(),
            conv_elements=self.conv.cached * self.conv.channels,
            decode_flops=flops,
            prefill_flops=flops,
        )
