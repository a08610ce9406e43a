"""Mixture of experts: against transformers, its auxiliary loss, its costs, its proxy, and training."""

from dataclasses import replace

import pytest
import torch
from torch.func import functional_call, stack_module_state
from torch.testing import assert_close

from kernels.vmap import stacked
from search_space.cost.cost import cost
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.parts.base import Dims
from search_space.parts.build import build_channel_mixer
from search_space.parts.costs import Experts
from search_space.parts.part import Part
from search_space.scale import Proxy, Scale
from workers.suite.suite import build_suite
from workers.training import Run, Training

D, E, K = 12, 6, 2
SMALL = {"experts": E, "top_k": K, "ratio": 0.5}


def moe(seed=0, width=D, **options):
    torch.manual_seed(seed)
    return build_channel_mixer(Part("moe", {**SMALL, **options}), Dims(width=width, heads=2))


@pytest.mark.parametrize("tokens", [(2, 9), (1, 1)], ids=["all-experts", "only-those-used"])
@pytest.mark.parametrize("normalise", [True, False])
def test_it_is_that_of_qwen3_next(tokens, normalise):
    pytest.importorskip("transformers", reason="transformers is not installed (pip install -e '.[test]')")
    from transformers.models.qwen3_next.configuration_qwen3_next import Qwen3NextConfig
    from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextSparseMoeBlock

    ours = moe(shared=0.75, shared_gate=True, normalise=normalise, balance=0.0)
    config = Qwen3NextConfig(
        hidden_size=D,
        num_experts=E,
        num_experts_per_tok=K,
        moe_intermediate_size=6,
        shared_expert_intermediate_size=9,
        norm_topk_prob=normalise,
    )
    theirs = Qwen3NextSparseMoeBlock(config)
    gate, up = ours.shared_input.weight.chunk(2)
    weights = {
        "gate.weight": ours.router.weight,
        "experts.gate_up_proj": ours.input.mT,
        "experts.down_proj": ours.output.mT,
        "shared_expert.gate_proj.weight": gate,
        "shared_expert.up_proj.weight": up,
        "shared_expert.down_proj.weight": ours.shared_output.weight,
        "shared_expert_gate.weight": ours.shared_gate.weight,
    }
    theirs.load_state_dict({name: weight.detach().clone() for name, weight in weights.items()})
    x = torch.randn(*tokens, D, requires_grad=True)
    found, expected = ours(x), theirs(x)
    assert_close(found, expected, atol=1e-6, rtol=1e-5)
    routers = (found, ours.router.weight), (expected, theirs.gate.weight)
    gradients = [torch.autograd.grad(y.square().sum(), [x, router]) for y, router in routers]
    assert_close(*gradients, atol=1e-5, rtol=1e-4)


def auxiliary_loss(part, x):
    """2101.03961, equation 4, with the share of places of an expert."""
    chances = part.router(x).softmax(-1).reshape(-1, E)
    chosen = chances.topk(K, -1).indices
    share = torch.stack([(chosen == expert).sum() for expert in range(E)]) / chosen.numel()
    return part.balance * E * (share * chances.mean(0)).sum()


@pytest.mark.parametrize("models", [1, 3])
def test_gradients_are_those_of_the_loss_and_the_auxiliary_loss(models):
    parts = [moe(seed, balance=0.3) for seed in range(models)]
    x = torch.randn(models, 4, 5, D)
    expected = []
    for part, each in zip(parts, x, strict=True):
        plain = moe(balance=0.0)
        plain.load_state_dict(part.state_dict())
        loss = plain(each).square().mean() + auxiliary_loss(part, each)
        plain_router = torch.autograd.grad(loss, [plain.router.weight, part.router.weight], allow_unused=True)
        expected.append(sum(plain_router))
    if models == 1:
        parts[0](x[0]).square().mean().backward()
        found = parts[0].router.weight.grad[None]
    else:
        parameters, buffers = stack_module_state(parts)
        with stacked():
            y = torch.vmap(lambda *inputs: functional_call(parts[0], inputs[:2], inputs[2]))(parameters, buffers, x)
        found = torch.autograd.grad(y.square().mean((1, 2, 3)).sum(), parameters["router.weight"])[0]
    assert_close(found, torch.stack(expected), atol=1e-6, rtol=1e-4)


def test_uneven_experts_are_evened_out():
    part = moe(balance=1.0)
    with torch.no_grad():
        part.router.weight[0] += 1.0
    x = torch.randn(64, D) + 0.5
    before = auxiliary_loss(part, x)
    for _ in range(200):
        part.zero_grad()
        (0.0 * part(x)).sum().backward()
        with torch.no_grad():
            part.router.weight -= part.router.weight.grad
    assert auxiliary_loss(part, x) < 0.9 * before and auxiliary_loss(part, x) < 1.2 * part.balance


def test_a_step_reads_the_experts_that_its_batch_uses():
    experts = Experts(count=4, used=2, parameters=10)
    chosen = torch.rand(4000, 3, 4, generator=torch.Generator().manual_seed(0)).topk(2).indices
    unread = [40 - 10 * len(set(each.flatten().tolist())) for each in chosen]
    assert experts.unused(1) == 20 and experts.unused(0) == 40
    assert experts.unused(3) == pytest.approx(sum(unread) / len(unread), rel=0.05)


def test_costs():
    target = Target(layers=2, width=64, heads=2, mlp_width=96, vocabulary=10, batch=1, context=1)
    layout = Layout.parse("gla/moe(experts=8, top_k=2, ratio=0.5)")
    each = 3 * 64 * 32
    part = build_channel_mixer(layout.layers[0].mlp, target.sizes.dims()).cost()
    assert (part.parameters, part.product_flops) == (8 * each + 8 * 64, 2 * (2 * each + 8 * 64))
    without = Layout.parse("gla/none")
    more = {
        batch: [cost(of, replace(target, batch=batch)).decode_ms for of in (layout, without)] for batch in (1, 2, 4096)
    }
    per_ms = target.weight_bytes * 1e3 / target.hardware.bandwidth
    read = {batch: (moe - none) / per_ms / 2 for batch, (moe, none) in more.items()}
    norm = 64
    assert read[1] == pytest.approx(2 * each + 8 * 64 + norm, rel=1e-6)
    assert read[2] == pytest.approx(8 * each * (1 - 0.75**2) + 8 * 64 + norm, rel=1e-6)
    assert read[4096] > 8 * each


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"experts": 64, "top_k": 8, "ratio": 0.875}, (16, 2, 41 / 32)),
        ({"experts": 512, "top_k": 10, "ratio": 0.25, "shared": 0.25, "shared_gate": True}, (16, 2, 15 / 32)),
        ({"experts": 16, "top_k": 2, "ratio": 3.5}, (16, 2, 41 / 32)),
        ({"experts": 8, "top_k": 1, "ratio": 2.0}, (8, 1, 23 / 32)),
        ({"experts": 4, "top_k": 4, "ratio": 1.0}, (2, 2, 23 / 32)),
    ],
)
def test_the_proxy_uses_few_experts_with_as_many_hidden_units_in_proportion(options, expected):
    scale = Scale(Target(), Proxy(), 48)
    found = dict(scale.block(Block("gla", Part("moe", options))).mlp.options)
    assert (found["experts"], found["top_k"], found["ratio"]) == expected
    assert ("shared" in found) == ("shared" in options)
    if "shared" in options:
        assert found["shared"] == 3 / 32


@pytest.mark.parametrize(
    "options, key",
    [
        ({"top_k": 7}, "mlp.top_k"),
        ({"experts": 0}, "mlp.experts"),
        ({"ratio": 0.001}, "mlp.ratio"),
        ({"router": "hash"}, "mlp.router"),
        ({"activation": "gelu"}, "mlp.activation"),
        ({"shared_gate": True}, "mlp.shared_gate"),
        ({"normalise": 1}, "mlp.normalise"),
        ({"balance": -1}, "mlp.balance"),
    ],
)
def test_options_that_cannot_be(options, key):
    with pytest.raises(InputError) as caught:
        moe(**options)
    assert caught.value.key == key


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_it_trains(seeds):
    suite = build_suite({"recall": {"keys": 8, "values": 8, "pairs": [2, 3]}}, 16)
    training = Training(length=16, steps=40, batch=8, evaluations=2, test_sequences=32)
    sizes = Scale(Target(), Proxy(width=16), 16)
    layout = sizes.layout(Layout.parse("deltanet/moe attention/moe(shared=1)"))
    run = Run(layout, sizes.sizes(suite.vocabulary), training, suite, seeds)
    before = [values.clone() for values in run.models.weights.groups]
    results = run.advance(40)
    assert [result.status for result in results] == ["complete"] * len(seeds)
    for result in results:
        (_, early), (_, late) = result.curves["train_loss"]
        assert late < early - 0.1
    assert not torch.equal(before[0], run.models.weights.groups[0])
