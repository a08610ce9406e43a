import subprocess
import sys
from pathlib import Path

import pytest

from nas.config import load, presets
from nas.config.reference import reference
from nas.search.setup import check
from search_space.errors import InputError


@pytest.mark.parametrize("name", [name for name in presets() if "gpu" not in name])
def test_every_preset_builds(name):
    assert check(load(name)).size > 1


def test_the_gpu_preset_fails_plainly_without_a_gpu():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match=r"training.device=cuda: expected a machine with a GPU"):
        check(load("gpu"))


def test_a_written_configuration_reads_back_the_same(tmp_path, tiny):
    config = load("smoke", tiny)
    file = tmp_path / "config.yaml"
    file.write_text(config.to_yaml())
    assert load(file) == config


def test_overrides_come_last_and_in_order():
    config = load("smoke", ["search.seconds=3", "search.seconds=4", "space.choices=[gla]"])
    assert config.search.seconds == 4 and config.space.choices == ["gla"]


def test_own_text_becomes_a_task(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("a rose is a rose is a rose, and so on. " * 400)
    config = load("smoke", [f"text.paths=[{file}]"])
    assert "text" in config.suite().tasks and config.all_tasks["text"]["paths"] == [str(file)]


def test_own_text_leaves_a_text_task_its_options(tmp_path):
    """Of a preset's own text task, only what is asked for changes."""
    file = tmp_path / "text.txt"
    file.write_text("a rose is a rose is a rose, and so on. " * 400)
    own = [f"text.paths=[{file}]", "tasks.text={tokens: 256, weight: 0.5}"]
    options = {"paths": [str(file)], "tokens": 256, "weight": 0.5}
    assert load("smoke", own).all_tasks["text"] == options
    assert load("smoke", [*own, "text.weight=2"]).all_tasks["text"] == {**options, "weight": 2}


def test_the_reference_is_up_to_date():
    committed = Path(__file__).parents[3] / "docs" / "configuration.md"
    assert committed.read_text() == reference(), "run `make docs`"


@pytest.mark.parametrize("module", ["nas", "nas.cli"])
def test_the_front_door_opens_quickly(module):
    """Neither `import nas` nor `nas --help` waits for torch, Ray, MLflow, Optuna or pandas."""
    heavy = "('torch', 'ray', 'mlflow', 'optuna', 'pandas')"
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_the_folder_of_the_presets_does_not_hide_the_function():
    import nas.config

    load("smoke")
    assert nas.config.presets() == presets()
