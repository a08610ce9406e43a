"""BaseConv."""

from torch import Tensor, nn

from search_space.checks import positive
from search_space.errors import InputError
from search_space.parts.base import Dims, Mixer, PartCost, State
from search_space.parts.nn import ShortConvolution


class BaseConv(Mixer):
    """BaseConv (2312.04927; as in Based, 2402.18668): a gated short convolution twice as wide as the model.

    y = W_o (silu(conv(a)) * b) with [a, b] = W_i x. It needs partners that see further back.

    Args:
        dims: sizes of the model.
        conv: width of the convolution, 2 at least; Based has 3.

    Raises:
        InputError: a width below 2, or none.
    """

    family = "convolution"
    source = "Zoology: Measuring and Improving Recall in Efficient Language Models (arXiv 2312.04927)"

    def __init__(self, dims: Dims, *, conv: int = 3):
        super().__init__()
        if positive("conv", conv) < 2:
            raise InputError("conv", conv, "a width of 2 at least")
        self.channels = 2 * dims.width
        self.input = nn.Linear(dims.width, 2 * self.channels, bias=False)
        self.conv = ShortConvolution(self.channels, conv, activation=True)
        self.output = nn.Linear(self.channels, dims.width, bias=False)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mixes x [B, T, D]; see `Mixer.forward`."""
        a, b = self.input(x).chunk(2, -1)
        a, conv = self.conv(a, state and state["conv"])
        return self.output(a * b), {"conv": conv}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Mixes a single token x [B, D]; see `Mixer.step`."""
        a, b = self.input(x).chunk(2, -1)
        a, conv = self.conv.step(a, state["conv"])
        return self.output(a * b), {"conv": conv}

    def initial_state(self, batch: int) -> State:
        """Nothing convolved yet."""
        return {"conv": self.conv.initial_cache(self.input.weight, batch)}

    def cost(self) -> PartCost:
        """The convolution and the gate."""
        flops = (2.0 * self.conv.width + 1) * self.channels
        return PartCost(
            **self.weights(),
            conv_elements=self.conv.cached * self.channels,
            decode_flops=flops,
            prefill_flops=flops,
        )
