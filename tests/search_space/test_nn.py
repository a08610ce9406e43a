import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from kernels import rotary
from search_space.channel_mixers.swiglu import SwiGLU
from search_space.errors import InputError
from search_space.mixers.mamba import Mamba
from search_space.mixers.mamba2 import Mamba2
from search_space.parts.base import Dims
from search_space.parts.build import build_mixer
from search_space.parts.nn import OPEN, OutputGate, RMSNorm, ShortConvolution, enlarge_steps, open_gates, step_bias
from search_space.parts.part import Part


@pytest.mark.parametrize("activation", [False, True], ids=["plain", "silu"])
@pytest.mark.parametrize("width", [0, 1, 2, 4])
def test_short_convolution_is_a_causal_one(width, activation):
    convolution, x = ShortConvolution(6, width, activation), torch.randn(2, 9, 6)
    y, _ = convolution(x)
    expected = x
    if width:
        padded = F.pad(x.transpose(1, 2), (width - 1, 0))
        expected = F.conv1d(padded, convolution.weight, groups=6).transpose(1, 2)
    assert_close(y, F.silu(expected) if activation else expected)


def test_short_convolution_rejects_a_negative_width():
    with pytest.raises(InputError, match="conv=-2"):
        ShortConvolution(6, -2, activation=False)


def test_rotary_keeps_lengths_and_sees_distances_only():
    q, k = torch.randn(2, 5, 3, 8), torch.randn(2, 5, 3, 8)
    near, far = ((rotary(q, p, 100.0) * rotary(k, p + 2, 100.0)).sum(-1) for p in (0, 40))
    assert_close(near, far, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(near, (q * k).sum(-1), atol=1e-2)
    assert_close(rotary(q, 7, 100.0).norm(dim=-1), q.norm(dim=-1))


def test_rotary_of_one_token_is_that_of_its_place():
    x = torch.randn(2, 5, 3, 8)
    assert_close(rotary(x[:, 3], 3, 100.0), rotary(x, 0, 100.0)[:, 3])


def test_rms_norm_and_its_gate():
    norm, x, gate = RMSNorm(8), 5 * torch.randn(4, 8), torch.randn(4, 8)
    assert_close(norm(x).square().mean(-1), torch.ones(4), atol=1e-4, rtol=0)
    assert_close(norm(x, gate), norm(x) * F.silu(gate))


def test_swiglu_has_three_matrices():
    mlp = SwiGLU(Dims(width=8, heads=1, mlp_width=20))
    gate, value = mlp.input.weight.chunk(2)
    x = torch.randn(3, 8)
    assert_close(mlp(x), (F.silu(x @ gate.T) * (x @ value.T)) @ mlp.output.weight.T)
    assert sum(p.numel() for p in mlp.parameters()) == 3 * 8 * 20


@pytest.mark.parametrize("gated", [RMSNorm(8), OutputGate(), OutputGate(torch.tanh)], ids=["norm", "silu", "tanh"])
def test_an_open_gate_is_that_of_a_larger_input(gated):
    x, gate = torch.randn(2, 3, 8)
    inputs = (x,) if isinstance(gated, RMSNorm) else ()
    closed = gated(*inputs, gate + OPEN)
    open_gates(nn.ModuleList([gated]))
    assert_close(gated(*inputs, gate), closed)
    assert_close(F.silu(torch.tensor(OPEN)), torch.tensor(1.0), atol=2e-3, rtol=0)


def test_larger_steps_decay_as_before():
    bias, rate = nn.Parameter(step_bias(16)), nn.Parameter(torch.rand(16))
    steps, decay = F.softplus(bias), F.softplus(bias) * rate.exp()
    enlarge_steps(bias, rate, 16.0)
    assert_close(F.softplus(bias), 16 * steps)
    assert_close(F.softplus(bias) * rate.exp(), decay)


@pytest.mark.parametrize(("kind", "published"), [(Mamba, 16), (Mamba2, 128)])
@pytest.mark.parametrize("fewer", [1, 8])
def test_with_open_gates_steps_make_up_for_fewer_elements_of_a_key(kind, published, fewer):
    mixer = kind(Dims(width=64, heads=2), key_size=published // fewer)
    before = F.softplus(mixer.step_bias.detach())
    mixer.open_gates()
    assert_close(F.softplus(mixer.step_bias.detach()), fewer * before)


def test_branches_open_their_gates_as_they_do_alone():
    mixer = build_mixer(
        Part("parallel", {"branches": ["attention", Part("mamba2", {"key_size": 8})]}), Dims(width=64, heads=2)
    )
    before = F.softplus(mixer.branches[1].step_bias.detach())
    mixer.open_gates()
    assert_close(F.softplus(mixer.branches[1].step_bias.detach()), 16 * before)
    assert mixer.branches[1].output_gate.gate_bias == OPEN
