"""A mixer that forgets at one fixed rate."""

import torch
from torch import nn

from search_space.parts.base import Mixer, PartCost


class MovingAverage(Mixer):
    """A mean that forgets."""

    source = "none"
    family = "vector"

    def __init__(self, dims, *, rate=0.5):
        super().__init__()
        self.rate = rate
        self.output = nn.Linear(dims.width, dims.width)
        nn.init.zeros_(self.output.bias)

    def forward(self, x, state=None):
        state = state or self.initial_state(x.shape[0])
        outputs = []
        for token in x.unbind(1):
            y, state = self.step(token, state)
            outputs.append(y)
        return torch.stack(outputs, 1), state

    def step(self, x, state):
        mean = self.rate * state["mean"] + (1 - self.rate) * x
        return self.output(mean), {"mean": mean}

    def initial_state(self, batch):
        return {"mean": self.output.weight.new_zeros(batch, self.output.in_features)}

    def cost(self):
        width = self.output.in_features
        return PartCost(**self.weights(), state_elements=width, decode_flops=2 * width)
