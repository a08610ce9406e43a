"""A channel mixer without a gate."""

from torch import nn

from search_space.parts.base import ChannelMixer, PartCost, Scaling


class SquaredReLU(ChannelMixer):
    """W_2 relu(W_1 x)^2."""

    source = "Primer (arXiv 2109.08668)"
    scaled = {"ratio": Scaling.MLP_RATIO}

    def __init__(self, dims, *, ratio=4.0):
        super().__init__()
        self.ratio = ratio
        self.input = nn.Linear(dims.width, round(ratio * dims.width), bias=False)
        self.output = nn.Linear(self.input.out_features, dims.width, bias=False)

    def forward(self, x):
        return self.output(self.input(x).relu().square())

    def cost(self):
        return PartCost(**self.weights())
