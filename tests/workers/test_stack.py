"""A stack of seeds against the same seeds by themselves."""

import importlib.util
from dataclasses import replace

import pytest
import torch

from search_space.cost.target import Target
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.mixers import MIXERS
from search_space.scale import Proxy, Scale
from tests.workers.test_training import job
from workers.jobs import run_job
from workers.suite.suite import build_suite
from workers.training import Run, Training

SEEDS = 0, 1, 2
TRAINING = Training(length=23, steps=4, batch=5, evaluations=2, test_sequences=9, device="cpu")
SCALE = Scale(Target(), Proxy(width=16, state=128), TRAINING.length)
HYBRID = Layout.parse("gated_deltanet attention hgrn*2")


@pytest.fixture
def suite():
    return build_suite({"recall": {"keys": 8, "values": 8, "pairs": [2, 3]}}, TRAINING.length)


def compare(layout, suite, training=TRAINING, seeds=SEEDS, **close):
    together = Run(SCALE.layout(layout), SCALE.sizes(suite.vocabulary), training, suite, seeds)
    results = together.advance(training.steps)
    for model, seed in enumerate(seeds):
        alone = Run(SCALE.layout(layout), SCALE.sizes(suite.vocabulary), training, suite, (seed,))
        (result,) = alone.advance(training.steps)
        for name, p in alone.models.model.named_parameters():
            torch.testing.assert_close(together.weights.by_name[name][model], p, **close)
        found = results[model]
        assert (found.seed, found.steps, found.status) == (seed, result.steps, result.status)
        assert found.loss == pytest.approx(result.loss, rel=1e-3)
        losses, expected = ([loss for _, loss in r.curves["train_loss"]] for r in (found, result))
        assert losses == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", MIXERS.names())
def test_every_mixer(name, suite):
    read = {"shared_attention": "attention", "shared_window": "sliding_window", "shared_gold": "gold"}.get(name)
    below = [Block(read)] if read else []
    compare(Layout((*below, Block(name))), suite, rtol=1e-3, atol=2e-4)


def test_a_hybrid_in_either_precision(suite):
    compare(HYBRID, suite, replace(TRAINING, steps=8), rtol=1e-3, atol=2e-4)
    compare(HYBRID, suite, replace(TRAINING, precision="bf16"), rtol=0, atol=0.03)


def test_seeds_that_start_from_ngrams():
    suite = build_suite({"text": {"ngram": 2}}, TRAINING.length)
    compare(Layout.parse("gla attention"), suite, rtol=1e-3, atol=2e-4)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.skipif(torch.cuda.is_available(), reason="the runs are on the CPU, for the interpreter")
def test_on_triton(suite, monkeypatch):
    monkeypatch.setenv("KERNELS_BACKEND", "triton")
    training = replace(TRAINING, steps=2, batch=1, evaluations=1, test_sequences=2)
    compare(Layout((Block("gla"),)), suite, training, (0, 1), rtol=1e-3, atol=2e-4)


def test_a_seed_that_diverges_leaves_the_others_alone(suite):
    sound = Run(SCALE.layout(HYBRID), SCALE.sizes(suite.vocabulary), TRAINING, suite, SEEDS)
    broken = Run(SCALE.layout(HYBRID), SCALE.sizes(suite.vocabulary), TRAINING, suite, SEEDS)
    for run in (sound, broken):
        run.advance(2)
    with torch.no_grad():
        broken.weights.by_name["norm.weight"][1] = float("inf")
    expected, found = sound.advance(TRAINING.steps), broken.advance(TRAINING.steps)
    assert [r.status for r in found] == ["complete", "diverged", "complete"]
    assert found[1].recall == 0.0 and len(found[1].curves["recall"]) == 1
    for model in (0, 2):
        assert found[model].curves == expected[model].curves and found[model].loss == expected[model].loss
        for name, p in sound.weights.by_name.items():
            assert torch.equal(broken.weights.by_name[name][model], p[model])


def test_gradients_are_clipped_by_model(suite):
    run = Run(SCALE.layout(HYBRID), SCALE.sizes(suite.vocabulary), TRAINING, suite, SEEDS)
    run.weights.gradients.normal_()
    blocks = run.weights._blocks(run.weights.gradients)  # views
    for block in blocks:
        block[1] *= 1e-4
    small = torch.cat(blocks, 1)[1].norm().item()
    run.weights.clip_gradients(1.0)
    torch.testing.assert_close(torch.cat(blocks, 1).norm(dim=1), torch.tensor([1.0, small, 1.0]))


def test_a_job_of_several_seeds():
    apart, together = run_job(job(seeds=(4,))), run_job(job(seeds=(3, 4)))
    assert [r.seed for r in together.results] == [3, 4] and together.error is None
    assert together.results[0].seconds == together.results[1].seconds > 0
    assert together.results[1].loss == pytest.approx(apart.results[0].loss, rel=1e-3)
