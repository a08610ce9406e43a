"""No configuration, and no bytes of one, end in a traceback, a hang or gigabytes; FUZZ_DRAWS=10000 draws more."""

import os
import resource

import pytest
from hypothesis import HealthCheck, given, settings

import nas
from search_space.layouts.layout import Layout
from tests.nas import fuzzing

DRAWS = int(os.environ.get("FUZZ_DRAWS", "200"))
TRIALS = 5
SETTINGS = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck), "derandomize": DRAWS <= 200}
GIGABYTE = 2**20  # in the units of ru_maxrss


@pytest.fixture(autouse=True)
def memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2 * GIGABYTE


def test_overrides():
    trained = []

    @settings(max_examples=DRAWS * 6 // 10, **SETTINGS)
    @given(fuzzing.overrides)
    def draw(changes):
        config = fuzzing.accepted(lambda: fuzzing.load(changes))
        if config is not None and len(trained) < TRIALS and fuzzing.trained(config, len(trained)):
            trained.append(changes)

    draw()
    assert len(trained) == TRIALS, "draws that are valid run"


def test_files(tmp_path):
    file = tmp_path / "file.yaml"

    @settings(max_examples=DRAWS * 4 // 10, **SETTINGS)
    @given(fuzzing.contents)
    def draw(content):
        file.write_bytes(content)
        fuzzing.accepted(lambda: nas.load(file))
        try:
            Layout.load(file)
        except nas.InputError as error:
            assert str(error).isprintable()

    draw()
