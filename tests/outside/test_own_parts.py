"""A package of one's own adds a part of each kind: each is a file or a line, passes its contract, and is searched."""

import json
from pathlib import Path

import pytest

import nas
from nas.results.exporters import EXPORTERS
from nas.search.samplers import SAMPLERS
from nas.testing import ExporterContract, SamplerContract
from search_space.channel_mixers import CHANNEL_MIXERS
from search_space.cost.objectives import OBJECTIVES
from search_space.mixers import MIXERS
from search_space.parts.build import build_channel_mixer, build_mixer
from search_space.parts.part import Part
from search_space.testing import ChannelMixerContract, MixerContract, ObjectiveContract
from tests.conftest import TINY
from workers.suite.suite import build_suite
from workers.tasks import TASKS
from workers.testing import TaskContract

CATALOGUES = {
    "moving_average": MIXERS,
    "squared_relu": CHANNEL_MIXERS,
    "repeating": TASKS,
    "repeated": OBJECTIVES,
    "json": EXPORTERS,
    "coin": SAMPLERS,
}


@pytest.fixture
def installed(monkeypatch):
    """The package is on the path, as if it were installed."""
    monkeypatch.syspath_prepend(Path(__file__).with_name("site"))


@pytest.mark.usefixtures("installed")
class TestMixer(MixerContract):
    @pytest.fixture(params=["own_parts.mixer:MovingAverage", "moving_average"], ids=["path", "entry-point"])
    def build(self, request):
        return lambda dims: build_mixer(Part(request.param, {"rate": 0.7}), dims)

    def test_it_gets_its_options(self, mixer):
        assert mixer.rate == 0.7


@pytest.mark.usefixtures("installed")
class TestChannelMixer(ChannelMixerContract):
    @pytest.fixture
    def build(self):
        return lambda dims: build_channel_mixer(Part("squared_relu", {"ratio": 3.0}), dims)


@pytest.mark.usefixtures("installed")
class TestTask(TaskContract):
    @pytest.fixture
    def task(self):
        return build_suite({"mine": {"task": "repeating", "symbols": 7}}, 20).tasks["mine"]


@pytest.mark.usefixtures("installed")
class TestObjective(ObjectiveContract):
    @pytest.fixture
    def objective(self):
        return OBJECTIVES.get("repeated")


@pytest.mark.usefixtures("installed")
class TestExporter(ExporterContract):
    exporter = "json"


@pytest.mark.usefixtures("installed")
class TestSampler(SamplerContract):
    sampler = "coin"


@pytest.mark.usefixtures("installed")
def test_a_search_with_all_of_them(tmp_path):
    own = "{own: {mixer: moving_average, rate: {choose: [0.25, 0.5, 0.75]}, mlp: squared_relu}}"
    config = nas.load(
        "smoke",
        [
            *TINY,
            "tracking.enabled=false",
            f"space.blocks={own}",
            "space.choices=[own, attention]",
            "tasks.repeating={symbols: 4}",
            "search.objectives=[repeated, decode_ms]",
            "search.sampler=coin",
            "search.trials=6",
            "search.published=false",
        ],
    )
    found = nas.search(config, out=tmp_path / "run")
    assert [trial.state for trial in found.trials] == ["complete"] * 6
    front = json.loads((tmp_path / "run" / "front.json").read_text())
    assert front["objectives"][0] == {"name": "repeated", "direction": "maximize", "unit": "", "measured": True}
    values = [trial.value("repeated") for trial in found.trials]
    assert min(values) < max(values) == front["points"][-1]["objectives"]["repeated"], "cheapest first, best last"
    number = front["points"][0]["trial"]
    exported = json.loads(found.export(number, "json")[f"trial_{number}.json"])
    assert len(exported["layers"]) == config.target.layers
    assert any("moving_average" in block for block in exported["layers"])


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", CATALOGUES)
def test_what_is_announced_is_listed_after_what_is_built_in(name):
    assert CATALOGUES[name].names()[-1] == name


@pytest.mark.parametrize("name", CATALOGUES)
def test_without_the_package_there_is_none(name):
    assert name not in CATALOGUES[name].names()
