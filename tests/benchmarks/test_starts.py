"""The benchmarks start, and write their tables, with runs that are cut short."""

import numpy as np
import pytest
import yaml

from nas.config import load
from search_space.cost.target import Target
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from tests.benchmarks import (
    cpu_step,
    efficiency,
    every_mixer,
    mixed_proxy,
    placement,
    robustness,
    samplers,
    stacked,
)
from tests.conftest import TINY

SHORT = ["training.steps=4", "training.batch=4", "training.evaluations=2", "training.test_sequences=12"]


@pytest.fixture
def tiny(monkeypatch):
    """The presets, with runs of a tenth of a second."""

    def cut(name, overrides=()):
        return load(name, [*overrides, *SHORT])

    for module in (cpu_step, placement, robustness):
        monkeypatch.setattr(module, "load", cut)


def test_samplers(monkeypatch):
    monkeypatch.setattr(samplers, "BUDGETS", (2, 8))
    few, many = samplers.search(("random", 0, 6))
    assert 0 < few <= many


@pytest.mark.usefixtures("tiny")
def test_robustness(monkeypatch):
    assert all(load("laptop", robustness.overrides(variant)) for variant in robustness.VARIANTS)
    monkeypatch.setattr(robustness, "LAYOUTS", 3)
    monkeypatch.setattr(robustness, "VARIANTS", {name: robustness.VARIANTS[name] for name in ("preset", "bf16")})
    records = [robustness.run(task) for task in robustness.tasks()]
    assert len(records) == 3 * 3 and "| bf16, one seed" in robustness.report(records)


@pytest.mark.usefixtures("tiny")
def test_placement(monkeypatch):
    monkeypatch.setattr(placement, "MIXERS", ("hgrn",))
    monkeypatch.setattr(placement, "LAYERS", 3)
    monkeypatch.setattr(placement, "PLACES", {"none": [], "middle": [1]})
    recall = np.array([placement.run(("hgrn", place, seed)) for place in placement.PLACES for seed in (0, 1)])
    assert "| hgrn |" in placement.report(recall.reshape(1, 2, 2))


@pytest.mark.usefixtures("tiny")
def test_cpu_step():
    run = cpu_step.make_run(Layout((Block("gla"),) * 2))
    assert cpu_step.seconds(run, 1) > 0 and sum(cpu_step.shares(run).values()) == pytest.approx(1)


def test_efficiency():
    lines = efficiency.by_use(Target())
    assert all(any(line.startswith(f"| {name} |") for line in lines) for name in efficiency.SHOWN)
    (profile,) = (efficiency.DOCS / "profiles").glob("*.json")
    assert len(efficiency.checked(efficiency.load_profile(str(profile)))) > 2


def test_stacked(monkeypatch):
    monkeypatch.setattr(stacked, "STEPS", 1)
    monkeypatch.setattr(stacked, "WARM_UP", 1)
    preset = yaml.safe_load(stacked.files("nas.config.presets").joinpath("laptop.yaml").read_text())
    assert stacked.measure(preset, "gla", 2, "cpu").startswith("| gla |")


def test_mixed_proxy(monkeypatch):
    monkeypatch.setattr(mixed_proxy, "TRAINING", load("smoke", TINY).training)
    monkeypatch.setattr(mixed_proxy, "TASKS", {"recall": {"keys": 8, "values": 8, "pairs": [2]}})
    monkeypatch.setattr(mixed_proxy, "SEEDS", 2)
    row = {"device": "CPU", "precision": "fp32", **mixed_proxy.measure("fp32")}
    assert "| CPU | fp32 |" in mixed_proxy.table({"CPU, fp32": row})


def test_every_mixer(tmp_path):
    runs = every_mixer.Runs(tmp_path / "record.jsonl", "laptop", SHORT, [])
    cases = [every_mixer.case(mixer, 2) for mixer in ("gla", "short_conv")]
    runs.train(cases, 2)
    text = "\n".join(every_mixer.report(cases, runs, 2))
    assert "| gla |" in text and "| short_conv and attention |" in text
    assert len((tmp_path / "record.jsonl").read_text().splitlines()) == 4
    rates = [0.0035, runs.config().training.learning_rate]
    rows = every_mixer.at_rates(cases[:1], rates)
    runs.train([case for row in rows for case in row], 1)
    assert "| gla | ." in "\n".join(every_mixer.report_rates(rows, rates, runs, 1))
    assert len((tmp_path / "record.jsonl").read_text().splitlines()) == 5  # one of the rates was there already
    assert "parallel" in every_mixer.alone() and "shared_attention" not in every_mixer.alone()
