"""Fast-LLM and Megatron-LM: the tools are not run; fields are as their repositories have them."""

import pytest
import yaml

from nas.results.exporters import find_exporter
from nas.results.exporters.megatron import arguments
from nas.testing import ExporterContract
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.layout import Layout

TINY = Target(layers=6, width=64, heads=4, kv_heads=2, mlp_width=96, vocabulary=64, context=128)
MAMBA2 = "mamba2(key_size=8, value_size=16)"


class TestFastLlm(ExporterContract):
    exporter = "fast_llm"


class TestMegatron(ExporterContract):
    exporter = "megatron"
    layouts = {
        "own": Layout.parse("mamba2/relu2*2 attention/relu2"),
        "attention/relu2": Layout.parse("attention/relu2"),
    }


def test_fast_llm_has_blocks_and_a_pattern():
    text = find_exporter("fast_llm")(Layout.parse("gated_deltanet(heads=2)*2 sliding_window(window=8)/relu2"), TINY)
    model = yaml.safe_load(text)["model"]["base_model"]
    assert (model["hidden_size"], model["tied_embedding_weight"], model["embeddings"]) == (
        64,
        False,
        {"vocab_size": 64},
    )
    decoder = model["decoder"]
    assert decoder["type"] == "pattern" and decoder["num_blocks"] == 6
    assert decoder["pattern"] == ["gated_deltanet"] * 4 + ["sliding_window"] * 2
    assert decoder["blocks"]["gated_deltanet"]["mixer"] == {
        "type": "gdn",
        "value_heads": 2,
        "key_heads": 2,
        "key_head_dim": 32,
        "value_head_dim": 32,
        "convolution_layer": {"kernel_size": 4},
    }
    window = decoder["blocks"]["sliding_window"]
    assert window["mixer"]["window_size"] == 8 and window["mixer"]["rotary"] == {"type": "default", "theta": 10000.0}
    assert (window["mixer"]["heads"], window["mixer"]["head_groups"], window["mixer"]["head_size"]) == (4, 2, 16)
    assert window["mlp"]["activation"] == "squared_relu" and not window["mlp"]["gated"]


def test_megatron_reads_the_pattern():
    layout = Layout.parse(f"{MAMBA2}/relu2 {MAMBA2}/none attention/relu2 none/relu2 {MAMBA2}/none attention/none")
    given = arguments(find_exporter("megatron")(layout, TINY))
    assert given["--hybrid-override-pattern"] == "M-M*--M*" and given["--num-layers"] == "8"
    assert (given["--mamba-state-dim"], given["--mamba-head-dim"], given["--mamba-num-heads"]) == ("8", "16", "8")
    assert given["--untie-embeddings-and-output-weights"] == "" and given["--rotary-base"] == "10000"
    found, _ = find_exporter("megatron").read(given)
    assert found.layers[:3] == layout.layers[:3] and len(found.layers) == 6


def test_megatrons_own_code_takes_the_pattern():
    pytest.importorskip("megatron.core", reason="megatron-core is not installed")
    from megatron.core.ssm.mamba_hybrid_layer_allocation import allocate_layers

    layout = Layout.parse(f"{MAMBA2}/relu2*2 attention/relu2")
    pattern = arguments(find_exporter("megatron")(layout, TINY))["--hybrid-override-pattern"]
    assert allocate_layers(len(pattern), 0.0, 0.0, pattern) == list("M-" * 4 + "*-" * 2)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("fast_llm", "sliding_window(qk_norm=true)", "without qk_norm"),
        ("fast_llm", "gla", r"layers\[0\]=gla: expected one of attention"),
        ("fast_llm", "attention/none", "as the channel mixer"),
        ("fast_llm", "kda(key_size=8, value_size=16, heads=4)", "one size"),
        ("megatron", "mamba2 attention/relu2", "relu2 or none"),
        ("megatron", "mamba2(conv=3)/relu2", "width 4"),
        ("megatron", "gla/relu2", "expected one of mamba2"),
    ],
)
def test_what_they_cannot_hold_is_refused(name, text, said):
    with pytest.raises(InputError, match=said):
        find_exporter(name)(Layout.parse(text), TINY)
