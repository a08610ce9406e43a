"""Models are built for their shapes without values, and without torch's compiler."""

import subprocess
import sys

import pytest
import torch

from search_space.channel_mixers import CHANNEL_MIXERS
from search_space.cost.target import Target
from search_space.mixers import MIXERS
from search_space.parts.build import build_channel_mixer, build_mixer
from search_space.parts.part import Part
from search_space.parts.shapes import shapes_only

DIMS = Target(width=64, heads=4, mlp_width=128).sizes.dims()


def shapes(part):
    tensors = [*part.named_parameters(), *part.named_buffers()]
    return {name: (each.shape, each.dtype, each.device.type) for name, each in tensors}, part.cost()


@pytest.mark.parametrize(
    ("build", "name"),
    [(build_mixer, n) for n in MIXERS.names()] + [(build_channel_mixer, n) for n in CHANNEL_MIXERS.names()],
)
def test_parts_have_the_shapes_that_torch_gives_them(build, name):
    with shapes_only():
        found = shapes(build(Part(name), DIMS))
    with torch.device("meta"):
        assert found == shapes(build(Part(name), DIMS))


def test_arithmetic_of_all_kinds():
    with shapes_only():
        whole, part = torch.ones(2, 3), torch.arange(3)
        found = [whole + part, 2.0 ** (1 - part), whole > 1, part.log(), part / 2, whole.mul_(2), torch.exp2(whole)]
    assert [(tuple(each.shape), each.dtype) for each in found] == [
        ((2, 3), torch.float32),
        ((3,), torch.float32),
        ((2, 3), torch.bool),
        ((3,), torch.float32),
        ((3,), torch.float32),
        ((2, 3), torch.float32),
        ((2, 3), torch.float32),
    ]
    assert all(each.is_meta for each in found) and found[5] is whole
    assert (torch.ones(2) + 1).tolist() == [2.0, 2.0], "outside all is as ever"


PRICE = """
import sys, nas
nas.cost("(attention gla retnet gated_deltanet hgrn2 sliding_window)*4")
print("torch._dynamo" in sys.modules)
"""


def test_pricing_leaves_the_compiler_alone():
    assert subprocess.check_output([sys.executable, "-c", PRICE], text=True) == "False\n"
