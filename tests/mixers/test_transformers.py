"""Mixers against the classes of transformers, which we did not write: weights copied, values and gradients compared."""

import inspect

import pytest
import torch
from torch.testing import assert_close

pytest.importorskip("transformers", reason="transformers is not installed (pip install -e '.[test]')")

from search_space.parts.base import Dims
from search_space.parts.build import build_mixer
from search_space.parts.part import Part

D, T = 32, 21


def ours(name, options, **dims):
    torch.manual_seed(0)
    mixer = build_mixer(Part(name, options), Dims(width=D, heads=4, **dims))
    for parameter in mixer.parameters():  # so that biases and gains take part
        parameter.data += 0.1 * torch.randn_like(parameter)
    return mixer


def per_head(weight, heads):
    """Rows that are interleaved by head, [q|k|v] of each, in our order."""
    return weight.unflatten(0, (3, heads, -1)).transpose(0, 1).flatten(0, 2)


def compare(mixer, theirs):
    """Values, and gradients of the input and of the last projection."""
    x = torch.randn(2, T, D, requires_grad=True)
    found, expected = mixer(x)[0], theirs(x)
    assert_close(found, expected, atol=2e-5, rtol=1e-4)
    weights = torch.randn(found.shape)
    gradients = [torch.autograd.grad((y * weights).sum(), x)[0] for y in (found, expected)]
    assert_close(*gradients, atol=1e-4, rtol=1e-3)


def test_lightning():
    from transformers.models.minimax.configuration_minimax import MiniMaxConfig
    from transformers.models.minimax.modeling_minimax import MiniMaxLightningAttention

    config = MiniMaxConfig(
        hidden_size=D, num_attention_heads=4, head_dim=6, num_hidden_layers=5, block_size=8, num_key_value_heads=4
    )
    mixer = ours("lightning", {"heads": 4, "key_size": 6, "value_size": 6}, layer=2, layers=5)
    module = MiniMaxLightningAttention(config, layer_idx=2)
    qkv, gate = mixer.input.weight.data.split([72, 24])
    module.load_state_dict(
        {
            "qkv_proj.weight": per_head(qkv, 4),
            "output_gate.weight": gate,
            "out_proj.weight": mixer.output.weight.data,
            "norm.weight": mixer.norm.weight.data,
        },
        strict=False,
    )
    module.norm.variance_epsilon = mixer.norm.eps
    compare(mixer, lambda x: module(x, position_embeddings=None, attention_mask=None)[0])


@pytest.mark.parametrize("groups", [1, 2])
def test_mamba2(groups):
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Config, Mamba2Mixer

    size, inner = 6, 64
    config = Mamba2Config(
        hidden_size=D, num_heads=4, head_dim=16, state_size=size, n_groups=groups, expand=2, chunk_size=8,
        layer_norm_epsilon=1e-5, num_hidden_layers=1,
    )  # fmt: skip
    mixer = ours("mamba2", {"heads": 4, "key_size": size, "value_size": 16, "n_groups": groups})
    module = Mamba2Mixer(config, layer_idx=0)

    def reordered(rows):  # ours: C, B, x; theirs: x, B, C
        c, b, x = rows.split([groups * size, groups * size, inner])
        return torch.cat([x, b, c])

    cbx, z, dt = mixer.input.weight.data.split(mixer.sizes)
    module.load_state_dict(
        {
            "in_proj.weight": torch.cat([z, reordered(cbx), dt]),
            "conv1d.weight": reordered(mixer.conv.weight.data),
            "conv1d.bias": reordered(mixer.conv.bias.data),
            "dt_bias": mixer.step_bias.data,
            "A_log": mixer.log_rate.data,
            "D": mixer.skip.data,
            "norm.weight": mixer.norm.weight.data,
            "out_proj.weight": mixer.output.weight.data,
        }
    )
    compare(mixer, module)


@pytest.mark.parametrize("width", [3, 7])
def test_short_conv(width):
    from transformers.models.lfm2.modeling_lfm2 import Lfm2Config, Lfm2ShortConv

    config = Lfm2Config(hidden_size=D, conv_L_cache=width, conv_bias=False, num_hidden_layers=1, layer_types=["conv"])
    mixer = ours("short_conv", {"conv": width})
    module = Lfm2ShortConv(config, layer_idx=0)
    module.load_state_dict(
        {
            "conv.weight": mixer.conv.weight.data,
            "in_proj.weight": mixer.input.weight.data,
            "out_proj.weight": mixer.output.weight.data,
        }
    )
    compare(mixer, module)


def test_mamba():
    from transformers.models.mamba.modeling_mamba import MambaConfig, MambaMixer

    config = MambaConfig(hidden_size=D, state_size=5, expand=2, time_step_rank=3, num_hidden_layers=1)
    mixer = ours("mamba", {"key_size": 5, "rank": 3})
    module = MambaMixer(config, layer_idx=0)
    module.load_state_dict(
        {
            "in_proj.weight": mixer.input.weight.data,
            "conv1d.weight": mixer.conv.weight.data,
            "conv1d.bias": mixer.conv.bias.data,
            "x_proj.weight": mixer.selection.weight.data,
            "dt_proj.weight": mixer.time_step.weight.data,
            "dt_proj.bias": mixer.step_bias.data,
            "A_log": mixer.log_rate.data.view(2 * D, 5),
            "D": mixer.skip.data,
            "out_proj.weight": mixer.output.weight.data,
        }
    )
    compare(mixer, module)


def test_kda(monkeypatch):
    from transformers.models.kimi_linear import modeling_kimi_linear as kimi

    # Where fla is installed, its kernel would be called instead, which needs a GPU.
    plain = inspect.unwrap(kimi.chunk_kimi_delta_attention)
    monkeypatch.setattr(kimi, "chunk_kimi_delta_attention", plain)
    heads, size = 4, 8
    config = kimi.KimiLinearConfig(
        hidden_size=D, linear_num_heads=heads, linear_head_dim=size, linear_conv_kernel_dim=4, rms_norm_eps=1e-5,
        num_hidden_layers=1, layer_types=["linear_attention"],
    )  # fmt: skip
    mixer = ours("kda", {"heads": heads, "key_size": size, "value_size": size})
    module = kimi.KimiLinearDeltaAttention(config, layer_idx=0)
    q, k, v, g, b, f = mixer.input.weight.data.split([heads * size] * 3 + [size, heads, size])
    module.load_state_dict(
        {
            "q_proj.weight": q,
            "k_proj.weight": k,
            "v_proj.weight": v,
            "conv1d.weight": mixer.conv.weight.data,
            "forget_gate.f_a_proj.weight": f,
            "forget_gate.f_b_proj.weight": mixer.decay.weight.data,
            "forget_gate.dt_bias": mixer.step_bias.data,
            "forget_gate.A_log": mixer.log_rate.data.view(1, 1, heads, 1),
            "b_proj.weight": b,
            "g_a_proj.weight": g,
            "g_b_proj.weight": mixer.gate.weight.data,
            "o_norm.weight": mixer.norm.weight.data,
            "o_proj.weight": mixer.output.weight.data,
        }
    )
    compare(mixer, module)


def test_rg_lru():
    from transformers.models.recurrent_gemma import modeling_recurrent_gemma as griffin

    size, heads = 24, 4
    config = griffin.RecurrentGemmaConfig(hidden_size=D, lru_width=size, num_attention_heads=heads)
    mixer = ours("rg_lru", {"state_size": size, "block_size": size // heads})
    module = griffin.RecurrentGemmaRecurrentBlock(config, layer_idx=0)
    gates = [x.data.chunk(2, -1) for x in (mixer.gates.weight, mixer.gates.bias)]
    (u, y), (of_u, of_y) = (x.data.chunk(2) for x in (mixer.input.weight, mixer.input.bias))
    module.load_state_dict(
        {
            "linear_x.weight": u,
            "linear_x.bias": of_u,
            "linear_y.weight": y,
            "linear_y.bias": of_y,
            "linear_out.weight": mixer.output.weight.data,
            "linear_out.bias": mixer.output.bias.data,
            "conv_1d.weight": mixer.conv.weight.data,
            "conv_1d.bias": mixer.conv.bias.data,
            "rg_lru.recurrent_param": mixer.log_rate.data,
            "rg_lru.recurrent_gate_weight": gates[0][0],
            "rg_lru.input_gate_weight": gates[0][1],
            "rg_lru.recurrent_gate_bias": gates[1][0],
            "rg_lru.input_gate_bias": gates[1][1],
        }
    )
    places = torch.arange(T)[None]
    compare(mixer, lambda x: module(x, position_ids=places, attention_mask=None, use_cache=False)[0])


def test_latent_attention():
    from transformers.models.kimi_linear import modeling_kimi_linear as kimi

    sizes = {"key_size": 6, "rope_size": 4, "value_size": 8, "rank": 10}
    config = kimi.KimiLinearConfig(
        hidden_size=D, num_attention_heads=4, num_key_value_heads=4, kv_lora_rank=10, qk_nope_head_dim=6,
        qk_rope_head_dim=4, v_head_dim=8, num_hidden_layers=1, layer_types=["full_attention"],
    )  # fmt: skip
    config._attn_implementation = "eager"
    mixer = ours("mla", {"heads": 4, "rope_theta": None, **sizes})
    module = kimi.KimiLinearAttention(config, layer_idx=0)
    q, latent = mixer.input.weight.data.split([40, 14])
    module.load_state_dict(
        {
            "q_proj.weight": q,
            "kv_a_proj_with_mqa.weight": latent,
            "kv_a_layernorm.weight": mixer.norm.weight.data,
            "kv_b_proj.weight": mixer.expansion.weight.data,
            "o_proj.weight": mixer.output.weight.data,
        }
    )
    module.kv_a_layernorm.variance_epsilon = mixer.norm.eps
    mask = torch.full((T, T), float("-inf")).triu(1)[None, None]
    compare(mixer, lambda x: module(x, attention_mask=mask)[0])


def test_attention_of_qwen3_next():
    from transformers.models.qwen3_next import modeling_qwen3_next as qwen

    config = qwen.Qwen3NextConfig(
        hidden_size=D, num_attention_heads=4, num_key_value_heads=2, head_dim=8, num_hidden_layers=1,
        layer_types=["full_attention"], rms_norm_eps=1e-5,
    )  # fmt: skip
    config._attn_implementation = "eager"
    options = {"heads": 4, "kv_heads": 2, "key_size": 8, "value_size": 8, "gate": "element", "qk_norm": True}
    mixer = ours("gated_attention", options)
    module = qwen.Qwen3NextAttention(config, layer_idx=0)
    q, k, v = mixer.input.weight.data.split([32, 16, 16])
    gate = mixer.gate.weight.data
    q_norm, k_norm = (norm.weight.data - 1 for norm in mixer.norms)  # theirs are gains above 1
    module.load_state_dict(
        {
            "q_proj.weight": torch.stack([q.view(4, 8, D), gate.view(4, 8, D)], 1).flatten(0, 2),
            "k_proj.weight": k,
            "v_proj.weight": v,
            "o_proj.weight": mixer.output.weight.data,
            "q_norm.weight": q_norm,
            "k_norm.weight": k_norm,
        }
    )
    mask = torch.full((T, T), float("-inf")).triu(1)[None, None]
    angles = torch.arange(T)[:, None] * 10000.0 ** (-torch.arange(4) / 4)
    positions = tuple(f(torch.cat([angles, angles], -1))[None] for f in (torch.cos, torch.sin))
    compare(mixer, lambda x: module(x, position_embeddings=positions, attention_mask=mask)[0])


@pytest.mark.parametrize("negative", [False, True])
def test_gated_deltanet(negative, monkeypatch):
    from transformers.models.olmo_hybrid import modeling_olmo_hybrid as olmo

    for name in ("torch_chunk_gated_delta_rule", "causal_conv1d_fn"):  # where fla is installed, its kernels stand here
        monkeypatch.setattr(olmo, name, inspect.unwrap(getattr(olmo, name)))
    heads, keys, values = 4, 8, 12
    config = olmo.OlmoHybridConfig(
        hidden_size=D, linear_num_key_heads=heads, linear_num_value_heads=heads, linear_key_head_dim=keys,
        linear_value_head_dim=values, linear_conv_kernel_dim=4, linear_allow_neg_eigval=negative, num_hidden_layers=2,
        num_attention_heads=4, layer_types=["linear_attention", "full_attention"],
    )  # fmt: skip
    options = {"heads": heads, "key_size": keys, "value_size": values, "negative_eigenvalues": negative}
    mixer = ours("gated_deltanet", options)
    module = olmo.OlmoHybridGatedDeltaNet(config, layer_idx=0)
    rows = [heads * keys, heads * keys, heads * values, heads * values, heads, heads]
    q, k, v, g, b, a = mixer.input.weight.data.split(rows)
    module.load_state_dict(
        {
            "q_proj.weight": q,
            "k_proj.weight": k,
            "v_proj.weight": v,
            "g_proj.weight": g,
            "b_proj.weight": b,
            "a_proj.weight": a,
            "conv1d.weight": mixer.conv.weight.data,
            "A_log": mixer.log_rate.data,
            "dt_bias": mixer.step_bias.data,
            "o_norm.weight": mixer.norm.weight.data,
            "o_proj.weight": mixer.output.weight.data,
        }
    )
    compare(mixer, module)


def test_xlstm():
    from transformers.models.xlstm.configuration_xlstm import xLSTMConfig
    from transformers.models.xlstm.modeling_xlstm import xLSTMLayer

    config = xLSTMConfig(
        hidden_size=64, num_heads=2, num_hidden_layers=1, chunk_size=8, autocast_kernel_dtype="float32", eps=1e-9
    )
    torch.manual_seed(0)
    mixer = build_mixer(Part("xlstm", {"heads": 2}), Dims(width=64, heads=2))
    for parameter in mixer.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    mixer.gate_bias.data += torch.tensor([9.0, 11.0, 0.0, -4.0])
    module = xLSTMLayer(config)
    q, k, v, o, i, f = mixer.input.weight.data.split([32, 32, 64, 64, 2, 2])
    i_bias, f_bias = mixer.gate_bias.data.chunk(2)
    module.load_state_dict(
        {
            "q.weight": q, "k.weight": k, "v.weight": v, "ogate_preact.weight": o,
            "igate_preact.weight": i, "igate_preact.bias": i_bias,
            "fgate_preact.weight": f, "fgate_preact.bias": f_bias,
            "multihead_norm.weight": mixer.gain.data, "out_proj.weight": mixer.output.weight.data,
        }
    )  # fmt: skip
    x = torch.randn(2, T, 64, requires_grad=True)
    found, expected = mixer(x)[0], module(x)[0]
    assert_close(found, expected, atol=2e-5, rtol=1e-4)
    weights = torch.randn(found.shape)
    assert_close(*(torch.autograd.grad((y * weights).sum(), x)[0] for y in (found, expected)), atol=1e-4, rtol=1e-3)
