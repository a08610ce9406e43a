"""Hash tables: against loops over chunks, their costs, and training."""

import torch
from torch.testing import assert_close

from search_space.cost.target import Target
from search_space.layouts.layout import Layout
from search_space.parts.base import Dims
from search_space.parts.build import build_channel_mixer
from search_space.parts.part import Part
from search_space.scale import Proxy, Scale
from workers.suite.suite import build_suite
from workers.training import Run, Training


def built(width=12, **options):
    torch.manual_seed(0)
    return build_channel_mixer(Part("hash_tables", options), Dims(width=width, heads=2))


def looked_up(layer, x):
    """One token after the other, chunk by chunk."""
    outputs = []
    for token in x:
        total = torch.zeros(layer.tables.shape[-1])
        for chunk in range(layer.chunks):
            z = token[chunk * layer.bits : (chunk + 1) * layer.bits]
            row = sum(2**place for place, value in enumerate(z) if value > 0)
            sure = torch.stack([1 / (1 + (-2 * abs(v) / layer.log_temperature.exp()).exp()) for v in z]).prod()
            total = total + sure * layer.tables[chunk, row]
        outputs.append(total)
    return torch.stack(outputs)


def test_equation():
    part, x = built(bits=3, growth=1), torch.randn(7, 12)
    part.input.log_temperature.data.fill_(0.4)
    hidden = looked_up(part.input, x)
    assert hidden.shape == (7, 16)
    hidden = hidden / (hidden.square().mean(-1, keepdim=True) + part.norm.eps).sqrt()
    assert_close(part(x), looked_up(part.output, hidden), atol=1e-6, rtol=1e-5)


def test_costs():
    cost = built(bits=3, growth=1).cost()
    first, second = 4 * 8 * 16, 4 * 16 * 12
    assert cost.parameters == first + second + 16 + 2 and cost.product_flops == 0
    assert [each.unused(1) for each in cost.experts] == [first * 7 / 8, second * 15 / 16]


def test_it_trains():
    suite = build_suite({"recall": {"keys": 8, "values": 8, "pairs": [2, 3]}}, 16)
    training = Training(length=16, steps=40, batch=8, evaluations=2, test_sequences=32)
    scale = Scale(Target(), Proxy(width=16), 16)
    layout = scale.layout(Layout.parse("attention/hash_tables*2"))
    run = Run(layout, scale.sizes(suite.vocabulary), training, suite, (0, 1))
    for result in run.advance(40):
        (_, early), (_, late) = result.curves["train_loss"]
        assert result.status == "complete" and late < early - 0.1
