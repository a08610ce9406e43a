"""A user's mixer comes in from a package of their own: by its path, or announced by an entry point."""

import sys
from textwrap import dedent

import pytest

from search_space.mixers import MIXERS
from search_space.parts.build import build_mixer
from search_space.parts.part import Part
from search_space.testing import MixerContract

MIXER = '''
    """A mixer that forgets at one fixed rate."""

    import torch
    from torch import nn

    from search_space.parts.base import Mixer, PartCost


    class MovingAverage(Mixer):
        "A mean that forgets."
        source = "none"

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
'''
METADATA = "Metadata-Version: 2.1\nName: averages\nVersion: 1.0\n"
ENTRY_POINTS = "[nas.mixers]\nmoving_average = averages.mixer:MovingAverage\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package `averages` that holds a mixer and announces it."""
    files = {
        "averages/__init__.py": "",
        "averages/mixer.py": dedent(MIXER),
        "averages-1.0.dist-info/METADATA": METADATA,
        "averages-1.0.dist-info/entry_points.txt": ENTRY_POINTS,
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("averages", "averages.mixer"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("package")
class TestOwnMixer(MixerContract):
    @pytest.fixture(params=["averages.mixer:MovingAverage", "moving_average"], ids=["path", "entry-point"])
    def build(self, request):
        return lambda dims: build_mixer(Part(request.param, {"rate": 0.7}), dims)

    def test_it_gets_its_options(self, mixer):
        assert mixer.rate == 0.7


@pytest.mark.usefixtures("package")
def test_an_announced_mixer_is_listed_after_the_built_in_ones():
    assert MIXERS.names()[-1] == "moving_average"


def test_no_package_no_mixer():
    assert "moving_average" not in MIXERS.names()
