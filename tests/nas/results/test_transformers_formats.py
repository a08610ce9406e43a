"""The formats of transformers' own model classes: each file is loaded, built and trained a step by transformers."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

pytest.importorskip("transformers", reason="transformers is not installed (pip install -e '.[test]')")

from nas.results.exporters import find_exporter
from nas.results.exporters.config_json import simplified
from nas.testing import ExporterContract
from search_space.cost.cost import cost
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.parts.part import Part

TINY = Target(layers=6, width=32, heads=4, kv_heads=2, mlp_width=48, vocabulary=64, context=128)
MAMBA2 = "mamba2(key_size=8, value_size=16)"
BOTH = f"parallel(branches=[attention, {MAMBA2}], combine=sum, norm=false)"
LIGHTNING = "lightning(heads=4, key_size=8, value_size=8)"
FORMATS = {  # format: layout, mixer -> the class that its layers have in transformers
    "qwen3_next": (
        "gated_deltanet(heads=2)*2 gated_attention",
        {"gated_deltanet": "Qwen3NextGatedDeltaNet", "gated_attention": "Qwen3NextAttention"},
    ),
    "qwen3_5": (
        "gated_attention gated_deltanet(heads=4, value_size=16)*2",
        {"gated_deltanet": "Qwen3_5GatedDeltaNet", "gated_attention": "Qwen3_5Attention"},
    ),
    "olmo_hybrid": (
        "gated_deltanet(heads=2)*2 attention",
        {"gated_deltanet": "OlmoHybridGatedDeltaNet", "attention": "OlmoHybridAttention"},
    ),
    "nemotron_h": (f"{MAMBA2}/relu2 {MAMBA2}/none attention/relu2", {}),
    "granite_hybrid": (
        f"{MAMBA2}*2 attention",
        {"mamba2": "GraniteMoeHybridMambaLayer", "attention": "GraniteMoeHybridAttention"},
    ),
    "falcon_h1": (BOTH, {"parallel": "FalconH1Mixer"}),
    "jamba": ("mamba(key_size=4)*2 attention", {"mamba": "JambaMambaMixer", "attention": "JambaAttention"}),
    "kimi_linear": (
        "kda(heads=4)*2 attention(kv_heads=4)",
        {"kda": "KimiLinearDeltaAttention", "attention": "KimiLinearAttention"},
    ),
    "lfm2": ("short_conv*2 attention", {"short_conv": "Lfm2ShortConv", "attention": "Lfm2Attention"}),
    "minimax": (
        f"{LIGHTNING}*2 attention",
        {"lightning": "MiniMaxLightningAttention", "attention": "MiniMaxAttention"},
    ),
    "recurrent_gemma": (
        "rg_lru(block_size=8)/geglu*2 sliding_window(window=16)/geglu",
        {"rg_lru": "RecurrentGemmaRecurrentBlock", "sliding_window": "RecurrentGemmaAttention"},
    ),
}
NO_ROPE = {"nemotron_h", "jamba", "kimi_linear"}


def layout_of(name):
    return Layout(Layout.parse(FORMATS[name][0]).layers * 2)


class Contract(ExporterContract):
    @property
    def layouts(self):
        if self.exporter != "falcon_h1":
            return {"own": layout_of(self.exporter)}
        both = "parallel(branches=[attention, mamba2(key_size={})], combine=sum, norm=false)*6"
        return {str(size): Layout.parse(both.format(size)) for size in (64, 128)}


for _name in FORMATS:
    globals()[f"Test_{_name}"] = type(f"Test_{_name}", (Contract,), {"exporter": _name})


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """What transformers makes of each file, and of one with another size or kind of everything."""
    folder = tmp_path_factory.mktemp("configs")
    for name in FORMATS:
        (folder / f"{name}.json").write_text(find_exporter(name)(layout_of(name), TINY))
        larger = replace(TINY, width=64, mlp_width=80, vocabulary=96, tied_embeddings=True)
        if name != "minimax":  # whose heads follow those of attention
            (folder / f"{name}-larger.json").write_text(find_exporter(name)(layout_of(name), larger))
    command = [sys.executable, "-m", "tests.nas.results.loading", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", FORMATS)
def test_transformers_builds_what_the_file_says(loaded, name):
    folder, seen = loaded
    for stem in (name, f"{name}-larger"):
        if stem not in seen:
            continue
        fields = json.loads((folder / f"{stem}.json").read_text())
        assert [seen[stem]["class"]] == fields["architectures"]
        assert seen[stem]["parameters"] == fields["nas"]["parameters_here"]
        assert seen[stem]["loss"] < 8 and seen[stem]["generated"] == 7
        assert not seen[stem]["without_gradient"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_layer_is_of_its_kind(loaded, name):
    layout, kinds = layout_of(name), FORMATS[name][1]
    layers = loaded[1][name]["layers"]
    if name == "nemotron_h":
        expected = [f"NemotronH{name}" for name in ("Mamba2Mixer", "MLP", "Mamba2Mixer", "Attention", "MLP")] * 2
        assert [{*expected} & {*classes} for classes in layers] == [{name} for name in expected]
        return
    assert len(layers) == len(layout.layers)
    for classes, block in zip(layers, layout.layers, strict=True):
        for kind, word in kinds.items():
            assert (word in classes) == (kind == block.mixer.kind), (classes, block)


@pytest.mark.parametrize("name", FORMATS)
def test_the_file_explains_its_parameters(name):
    about = json.loads(find_exporter(name)(layout_of(name), TINY))["nas"]
    assert about["parameters"] == cost(layout_of(name), TINY).parameters
    more = [
        int(text.rpartition("(")[2].split()[0].replace(",", ""))
        for text in about["differences"]
        if text.endswith("parameters)")
    ]
    assert about["parameters_here"] - about["parameters"] == sum(more)


@pytest.mark.parametrize("name", FORMATS)
def test_it_reads_what_it_writes(name):
    target = replace(TINY, kv_heads=4) if name == "kimi_linear" else TINY
    exporter = find_exporter(name)
    found, sizes = exporter.read(json.loads(exporter(layout_of(name), target)))
    none = {"rope_theta": None} if name in NO_ROPE else {}
    assert found.layers == tuple(plain(block, target, none) for block in layout_of(name).layers)
    again = replace(TINY, **sizes)
    assert cost(found, again) == cost(layout_of(name), target)


def plain(block, target, attention):
    """The block without options that are the defaults at these sizes; attention has the given ones."""
    more = attention if block.mixer.kind == "attention" else {}
    mixer = Part(block.mixer.kind, {**dict(block.mixer.options), **more})
    return Block(simplified(mixer, target.sizes.dims()), block.mlp)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("qwen3_next", "gated_deltanet*5 hgrn2", r"layers\[5\]=hgrn2: expected one of gated_deltanet, gated_attention"),
        ("qwen3_5", "gated_deltanet/none gated_attention", "swiglu as the channel mixer"),
        ("qwen3_5", "gated_deltanet", "a layer of gated_attention at least"),
        (
            "qwen3_5",
            "gated_deltanet(heads=2) gated_deltanet(heads=4) gated_attention",
            r"layers\[2\]=gated_deltanet\(heads=4\): expected gated_deltanet\(heads=2\) as in layers\[0\]",
        ),
        ("olmo_hybrid", "attention", "both kinds"),
        ("olmo_hybrid", "gated_deltanet attention(key_size=16)", "keys and values of one size"),
        ("nemotron_h", "mamba2 attention/relu2", "relu2 or none"),
        ("granite_hybrid", "mamba2(heads=3, value_size=16) attention", "multiple of width=32"),
        (
            "jamba",
            "mamba attention*2 mamba*2 attention",
            r"layers\[0\]=mamba: expected attention: attention is at layers 1 and 2",
        ),
        ("minimax", "lightning attention", r"expected lightning\(heads=4, key_size=8, value_size=8\)"),
        ("minimax", "lightning(slopes=tnl) attention", "slopes of minimax"),
        ("kimi_linear", "kda(key_size=4, value_size=8) attention", "one size"),
        ("recurrent_gemma", "rg_lru sliding_window(window=8) sliding_window(window=16)", "window=8"),
        ("falcon_h1", "parallel", r"branches=\[attention, mamba2\]"),
        ("lfm2", "short_conv attention(rope_theta=null)", "rotary"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_in_a_line(name, text, said):
    with pytest.raises(InputError, match=said) as refused:
        find_exporter(name)(Layout.parse(text), TINY)
    assert "\n" not in str(refused.value)


def test_published_files_are_read():
    """Keys as in the configurations that these models were released with."""
    qwen = {
        "hidden_size": 2048, "num_hidden_layers": 4, "num_attention_heads": 16, "num_key_value_heads": 2,
        "head_dim": 256,
        "intermediate_size": 5120, "vocab_size": 151936, "rope_theta": 1e7, "tie_word_embeddings": False,
        "linear_num_key_heads": 16, "linear_num_value_heads": 32, "linear_key_head_dim": 128,
        "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4,
        "layer_types": ["linear_attention"] * 3 + ["full_attention"],
    }  # fmt: skip
    found, sizes = find_exporter("qwen3_next").read(qwen)
    assert [b.mixer.kind for b in found.layers] == ["gated_deltanet"] * 3 + ["gated_attention"]
    assert dict(found.layers[3].mixer.options)["rope_theta"] == 1e7 and sizes["kv_heads"] == 2
    kimi = {
        "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 64, "intermediate_size": 96,
        "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8,
        "linear_attn_config": {
            "full_attn_layers": [4], "kda_layers": [1, 2, 3], "head_dim": 16, "num_heads": 4,
            "short_conv_kernel_size": 4,
        },
    }  # fmt: skip
    found, _ = find_exporter("kimi_linear").read(kimi)
    assert [b.mixer.kind for b in found.layers] == ["kda"] * 3 + ["attention"]
    with pytest.raises(InputError, match=r"layer_types\[0\]=sliding_attention"):
        find_exporter("qwen3_next").read({**qwen, "layer_types": ["sliding_attention"]})
    with pytest.raises(InputError, match=r"a config\.json with the keys"):
        find_exporter("qwen3_next").read({"layer_types": []})
