"""SwiGLU."""

from torch import Tensor, nn

from kernels import swiglu
from search_space import limits
from search_space.checks import number
from search_space.errors import InputError
from search_space.parts.base import ChannelMixer, Dims, PartCost, Scaling


class SwiGLU(ChannelMixer):
    """Feed-forward layer W_2 (silu(W_1 x) * W_3 x) of 2002.05202, without biases.

    Args:
        dims: sizes of the model.
        ratio: hidden width over the width of the model; None means the model's default.

    Raises:
        InputError: a ratio that leaves no hidden unit.
    """

    source = "GLU Variants Improve Transformer (arXiv 2002.05202)"
    scaled = {"ratio": Scaling.MLP_RATIO}

    def __init__(self, dims: Dims, *, ratio: float | None = None):
        super().__init__()
        if ratio is None:
            self.hidden = dims.mlp_width or dims.width
        else:
            self.hidden = round(number("ratio", ratio) * dims.width)
            if not 1 <= self.hidden <= limits.SIZE:
                raise InputError(
                    "ratio",
                    ratio,
                    f"a positive number that gives 1 to {limits.SIZE} hidden units at width {dims.width}",
                )
        self.ratio = self.hidden / dims.width
        self.input = nn.Linear(dims.width, 2 * self.hidden, bias=False)
        self.output = nn.Linear(self.hidden, dims.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [..., D] to [..., D]."""
        return self.output(swiglu(self.input(x)))

    def cost(self) -> PartCost:
        """Its three matrices."""
        return PartCost(**self.weights())
