"""The body of channel mixers with one hidden layer."""

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from search_space import limits
from search_space.checks import number
from search_space.errors import InputError
from search_space.parts.base import ChannelMixer, Dims, PartCost, Scaling


class MLP(ChannelMixer):
    """Projects to the hidden width, once or, if it has a gate, twice, activates, and projects back.

    Args:
        dims: sizes of the model.
        ratio: hidden width over the width of the model; None means the model's default.

    Class attributes:
        gated: whether two projections of the input meet in `activate`.

    Raises:
        InputError: a ratio that leaves no hidden unit.
    """

    gated: ClassVar[bool] = True
    scaled = {"ratio": Scaling.MLP_RATIO}

    def __init__(self, dims: Dims, *, ratio: float | None = None):
        super().__init__()
        if ratio is None:
            self.hidden = dims.mlp_width or dims.width
        else:
            self.hidden = hidden_units("ratio", ratio, dims.width)
        self.ratio = self.hidden / dims.width
        self.input = nn.Linear(dims.width, (2 if self.gated else 1) * self.hidden, bias=False)
        self.output = nn.Linear(self.hidden, dims.width, bias=False)

    @abstractmethod
    def activate(self, features: Tensor) -> Tensor:
        """Hidden units [..., hidden] from the projections of the input, [..., 2 hidden] or [..., hidden]."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps [..., D] to [..., D]."""
        return self.output(self.activate(self.input(x)))

    def cost(self) -> PartCost:
        """Its two or three matrices."""
        return PartCost(**self.weights())


def hidden_units(option: str, ratio: float, width: int) -> int:
    """Hidden units of a layer with this ratio of its hidden width to the width of the model.

    Raises:
        InputError: a ratio that leaves none, or too many.
    """
    hidden = round(number(option, ratio) * width)
    if not 1 <= hidden <= limits.SIZE:
        expected = f"a positive number that gives 1 to {limits.SIZE} hidden units at width {width}"
        raise InputError(option, ratio, expected)
    return hidden
