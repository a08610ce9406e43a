"""Channel mixers against their equations, and their sizes."""

import pytest
import torch
from torch.testing import assert_close

from search_space.parts.base import Dims
from search_space.parts.build import build_channel_mixer
from search_space.parts.part import Part


def gelu(x):
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


# Hidden units from the rows of the first matrix: gate and value, or those that are activated.
EQUATIONS = {
    "swiglu": lambda gate, value: gate / (1 + (-gate).exp()) * value,
    "geglu": lambda gate, value: gelu(gate) * value,
    "glu": lambda gate, value: gate * value,
    "relu2": lambda x: torch.where(x > 0, x * x, 0.0),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_equation(name):
    mixer = build_channel_mixer(Part(name, {"ratio": 2.5}), Dims(width=8, heads=2)).double()
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    rows = (x @ mixer.input.weight.T).split(20, -1)
    assert_close(mixer(x), EQUATIONS[name](*rows) @ mixer.output.weight.T)


@pytest.mark.parametrize("name", EQUATIONS)
def test_matrices(name):
    with torch.device("meta"):
        found = build_channel_mixer(Part(name), Dims(width=2048, heads=2, mlp_width=5632)).cost()
    matrices = 2 if name == "relu2" else 3
    assert found.parameters == matrices * 2048 * 5632 == found.product_flops / 2
