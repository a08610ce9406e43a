import importlib.util
import io
import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.mixers import MIXERS
from search_space.model import Model, build_model
from search_space.parts.base import Below
from search_space.scale import Proxy, Scale
from workers.jobs import Job, run_job
from workers.stack import FlatParameters
from workers.suite.suite import build_suite
from workers.training import Run, Training, is_evaluation, train

TRAINING = Training(length=24, steps=12, batch=6, evaluations=3, test_sequences=8, device="cpu")
TASKS = {"recall": {"keys": 8, "values": 8, "pairs": [2, 3]}}
SCALE = Scale(Target(), Proxy(width=16, state=128), TRAINING.length)
HYBRID = SCALE.layout(Layout.parse("gated_deltanet attention gla"))
SIZES = SCALE.sizes(build_suite(TASKS, TRAINING.length).vocabulary)


@pytest.fixture
def suite():
    return build_suite(TASKS, TRAINING.length)


def run(suite, seed):
    return train(HYBRID, SIZES, TRAINING, suite, (seed,))[0][0]


def numbers(result):
    return replace(result, seconds=0.0)


def test_same_seed_same_numbers(suite):
    one, other = (run(suite, 3) for _ in range(2))
    assert numbers(one) == numbers(other) and one.status == "complete" and one.steps == 12
    assert numbers(run(suite, 4)) != numbers(one)


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("pause", [2, 4, 7])
def test_a_paused_run_ends_as_one_that_was_not(suite, pause, seeds):
    whole, _ = train(HYBRID, SIZES, TRAINING, suite, seeds)
    part, checkpoint = train(HYBRID, SIZES, TRAINING, suite, seeds, steps=pause)
    assert all(each.status == "paused" and each.steps == pause for each in part)
    assert all([step for step, _ in each.curves["recall"]] == [4][: pause // 4] for each in part)
    file = io.BytesIO()
    torch.save(checkpoint, file)
    file.seek(0)
    rest, _ = train(HYBRID, SIZES, TRAINING, suite, seeds, checkpoint=torch.load(file))
    assert [numbers(each) for each in rest] == [numbers(each) for each in whole]


def test_a_checkpoint_stays_as_it_was_taken(suite):
    run = Run(HYBRID, SIZES, TRAINING, suite, (0,))
    part, checkpoint = run.advance(6), run.checkpoint()
    kept = numbers(part[0])
    whole = numbers(run.advance(12)[0])
    assert numbers(part[0]) == kept and len(kept.curves["recall"]) == 1
    for _ in range(2):
        run.restore(checkpoint)
        assert numbers(run.advance(12)[0]) == whole


@pytest.mark.parametrize(
    ("steps", "evaluations", "expected"),
    [
        (19, 10, [2, 4, 6, 8, 10, 12, 14, 16, 18, 19]),
        (12, 3, [4, 8, 12]),
        (7, 7, [1, 2, 3, 4, 5, 6, 7]),
        (3, 10, [1, 2, 3]),
        (5, 1, [5]),
    ],
)
def test_as_many_evaluations_as_asked_for_evenly_spread(steps, evaluations, expected):
    training = replace(TRAINING, steps=steps, evaluations=evaluations)
    assert [step for step in range(1, steps + 1) if is_evaluation(step, training)] == expected


def test_a_run_makes_the_evaluations_that_were_asked_for(suite):
    (result,), _ = train(HYBRID, SIZES, replace(TRAINING, steps=7, evaluations=5), suite, (0,))
    assert [step for step, _ in result.curves["recall"]] == [2, 3, 5, 6, 7]


BAD = {
    "length": [0, 1.5, True],
    "evaluations": [0],
    "test_sequences": [-1],
    "learning_rate": [0, -1.0, math.nan, math.inf],
    "max_grad_norm": [0.0, math.nan, math.inf],
    "warmup": [1.0, -0.1, math.nan],
    "ema_decay": [1.0, math.nan],
    "weight_decay": [-0.1, math.nan, math.inf],
    "device": ["tpu"],
    "precision": ["fp16"],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BAD.items() for value in values])
def test_bad_values_are_refused_by_their_key(key, value):
    with pytest.raises(InputError) as error:
        replace(TRAINING, **{key: value})
    assert error.value.key == f"training.{key}"


def test_too_few_test_sequences_are_refused_before_training(suite):
    with pytest.raises(InputError, match=r"training.test_sequences=1: expected at least 2, .* task recall"):
        train(HYBRID, SIZES, replace(TRAINING, test_sequences=1), suite, (0,))


def test_a_text_task_has_a_loss_of_its_own(tmp_path):
    (tmp_path / "a.txt").write_text("the cat sat on the mat. " * 200)
    tasks = {**TASKS, "text": {"paths": [str(tmp_path)], "tokens": 256, "counts": False}}
    training, suite = replace(TRAINING, steps=2, evaluations=1), build_suite(tasks, TRAINING.length)
    (result,), _ = train(HYBRID, SCALE.sizes(suite.vocabulary), training, suite, (0,))
    assert 0 < result.loss["text"] < 20 and result.recall == result.accuracy["recall"]


def test_curves_are_scored_on_the_way(suite):
    result = run(suite, 0)
    curves = result.curves
    assert [step for step, _ in curves["recall"]] == [step for step, _ in curves["train_loss"]] == [4, 8, 12]
    assert result.recall == pytest.approx(sum(value for _, value in curves["recall"]) / 3)
    assert curves["recall"][-1][1] == result.accuracy["recall"]


def losses(layout, suite, **changes):
    (result,), _ = train(SCALE.layout(layout), SIZES, replace(TRAINING, **changes), suite, (0,))
    assert result.status == "complete"
    return torch.tensor([loss for _, loss in result.curves["train_loss"]])


EVERY_MIXER = Layout(tuple(Block(name) for name in MIXERS.names()))


def test_bf16_trains_like_fp32(suite):
    fp32, bf16 = (losses(EVERY_MIXER, suite, steps=24, precision=precision) for precision in ("fp32", "bf16"))
    assert not torch.equal(fp32, bf16)
    torch.testing.assert_close(bf16, fp32, rtol=0.05, atol=0)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_every_mixer_trains_on_triton(suite, monkeypatch):
    """In the interpreter where there is no GPU."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    changes = {"steps": 2, "batch": 2, "evaluations": 2, "test_sequences": 2, "device": device, "precision": "fp32"}
    found = {}
    for backend in ("chunked", "triton"):
        monkeypatch.setenv("KERNELS_BACKEND", backend)
        found[backend] = losses(EVERY_MIXER, suite, **changes)
    torch.testing.assert_close(found["triton"], found["chunked"], rtol=1e-4, atol=0)


def test_divergence_is_a_result(suite, monkeypatch):
    original = Model.forward

    def broken(self, tokens, scored):
        return original(self, tokens, scored) * float("nan")

    monkeypatch.setattr(Model, "forward", broken)
    result = run(suite, 0)
    assert result.status == "diverged" and result.recall == 0.0 and result.steps < TRAINING.steps
    assert all(math.isfinite(v) for curve in result.curves.values() for _, v in curve)


def test_layouts_that_share_a_part_start_it_alike():
    one = build_model(HYBRID, SIZES, seed=1)
    other = build_model(SCALE.layout(Layout.parse("gla attention/none attention")), SIZES, seed=1)
    for a, b in zip(one.layers[1].mixer.parameters(), other.layers[1].mixer.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(one.layers[2].mlp.input.weight, other.layers[2].mlp.input.weight)
    assert torch.equal(one.embedding.weight, other.embedding.weight)
    assert not torch.equal(other.layers[1].mixer.input.weight, other.layers[2].mixer.input.weight)


def test_layers_of_a_deep_model_add_a_share_of_their_output():
    sizes = replace(SIZES, residual=2.0, shift_from=0)
    layer = build_model(SCALE.layout(Layout.parse("gla/none*8")), sizes, seed=0).layers[0]
    torch.nn.init.normal_(layer.mixer.output.weight)
    x = torch.randn(2, 5, 16)
    h = layer.mixer_norm(x)
    torch.testing.assert_close(layer(x)[0], x + 0.25 * layer.mixer(h + layer.shift(h)[0])[0])
    assert build_model(HYBRID, SIZES, seed=0).layers[0].scale == 1.0


def test_mixers_see_the_embedding_again():
    sizes = replace(SIZES, embedding_skip=0.5, shift_width=0)
    layer = build_model(SCALE.layout(Layout.parse("gla/none*2")), sizes, seed=0).layers[1].double()
    torch.nn.init.normal_(layer.mixer.output.weight)
    x, embedded = torch.randn(2, 2, 5, 16, dtype=torch.float64)
    x_unit, embedded_unit = (v / (v.square().sum(-1, keepdim=True) + 1e-6).sqrt() for v in (x, embedded))
    expected = x + layer.mixer(layer.mixer_norm(x_unit + 0.5 * embedded_unit))[0]
    torch.testing.assert_close(layer(x, below=Below(embedded))[0], expected)
    assert not torch.allclose(layer(x)[0], expected)


def test_flat_parameters_train_as_separate_ones():
    def network():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.SiLU(), torch.nn.Linear(8, 1))

    plain, flat = network(), network()
    weights = FlatParameters(flat)
    matrices = [p for p in plain.parameters() if p.dim() >= 2]
    vectors = [p for p in plain.parameters() if p.dim() < 2]
    optimizers = [
        torch.optim.AdamW([{"params": a, "weight_decay": 0.1}, {"params": b, "weight_decay": 0.0}], lr=0.01)
        for a, b in ((matrices, vectors), ([weights.groups[0]], [weights.groups[1]]))
    ]
    for step in range(5):
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        optimizers[0].zero_grad()
        weights.gradients.zero_()
        for model in (plain, flat):
            model(x).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.1)
        weights.clip_gradients(0.1)
        for optimizer in optimizers:
            optimizer.step()
    for a, b in zip(plain.parameters(), flat.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_an_easy_task_is_learnt():
    training = replace(TRAINING, steps=150, batch=16, test_sequences=32, learning_rate=1e-2)
    suite = build_suite({"recall": {"keys": 4, "values": 4, "pairs": [1]}}, training.length)
    layout, sizes = SCALE.layout(Layout.parse("gated_deltanet*2")), SCALE.sizes(suite.vocabulary)
    assert train(layout, sizes, training, suite, (0,))[0][0].recall > 0.9


def job(**changes):
    fields = {
        "trial": 0,
        "layout": Layout.parse("gated_deltanet attention gla"),
        "seeds": (0,),
        "scale": SCALE,
        "training": TRAINING,
        "tasks": TASKS,
    }
    return Job(**{**fields, **changes})


def test_errors_come_back_as_values():
    outcome = run_job(job(layout=Layout((Block("no_such.module:Mixer"),))))
    assert outcome.results == () and "no_such" in outcome.error


def test_training_needs_neither_ray_nor_optuna_nor_mlflow():
    code = (
        "import sys, workers.jobs, workers.training, search_space.space.space, search_space.layouts.published\n"
        "from search_space.mixers import MIXERS\nfrom workers.tasks import TASKS\n"
        "[c.get(n) for c in (MIXERS, TASKS) for n in c.names()]\n"
        "print([m for m in ('ray', 'optuna', 'mlflow', 'omegaconf') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
