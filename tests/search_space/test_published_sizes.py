"""Published models at their real sizes, without memory: parameters against the published count, and against the classes
of transformers with the released configurations. What a layout cannot hold is added as data, with its reason."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import pytest
import torch

from search_space.cost.cost import cost
from search_space.cost.target import Target
from search_space.layouts.block import MLP, Block
from search_space.layouts.layout import Layout
from search_space.layouts.published import published_layouts
from search_space.model import build_model
from search_space.parts.part import Part

BY_NAME = {published.name: published.layout for published in published_layouts()}


@dataclass(frozen=True, kw_only=True)
class Released:
    """A released model.

    Args:
        layout: name of the published layout.
        parameters: the published count.
        source: of the count.
        target: sizes of the model, and options of its mixers.
        mlp: number of a layer -> its channel mixer, in place of SwiGLU.
        left_out: what the model has beside our parts, in parameters; below 0 what ours have beside it.
        transformers: (module, class, configuration), or None where there is none.
    """

    layout: str
    parameters: float
    source: str
    target: dict[str, Any]
    mlp: Callable[[int], Part] | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    transformers: tuple[str, str, dict[str, Any]] | None = None

    def layers(self) -> Layout:
        """The layout with channel mixers as released."""
        blocks = []
        for place, block in enumerate(BY_NAME[self.layout].layers):
            mlp = self.mlp(place) if self.mlp is not None and block.mlp == MLP else block.mlp
            blocks.append(Block(block.mixer, mlp))
        return Layout(tuple(blocks))


KIMI_EXPERTS = Part(
    "moe", {"experts": 256, "top_k": 8, "ratio": 1024 / 2304, "shared": 1024 / 2304, "router": "sigmoid"}
)
QWEN_EXPERTS = Part("moe", {"experts": 512, "top_k": 10, "ratio": 0.25, "shared": 0.25, "shared_gate": True})
JAMBA_EXPERTS = Part("moe", {"experts": 16, "top_k": 2, "ratio": 3.5, "normalise": False})

MODELS = [
    Released(
        layout="Nemotron-H 8B",
        parameters=8.1e9,
        source="2504.03624, table 1 and released model",
        target={
            "width": 4096,
            "heads": 32,
            "kv_heads": 8,
            "mlp_width": 21504,
            "vocabulary": 131072,
            "options": {
                "mamba2": {"heads": 128, "value_size": 64, "key_size": 128, "n_groups": 8},
                "attention": {"key_size": 128, "value_size": 128},
            },
        },
        transformers=(
            "nemotron_h",
            "NemotronH",
            {
                "layers_block_type": [
                    {"M": "mamba", "-": "mlp", "*": "attention"}[c]
                    for c in "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-"
                ]
            },
        ),
    ),
    Released(
        layout="Granite 4.0-H",
        parameters=1.46e9,
        source="released model Granite-4.0-H-1B, the dense one; its card rounds to 1.5B",
        target={
            "width": 1536,
            "heads": 12,
            "kv_heads": 4,
            "mlp_width": 4096,
            "vocabulary": 100352,
            "tied_embeddings": True,
            "options": {"mamba2": {"heads": 48, "value_size": 64, "key_size": 128, "n_groups": 1}},
        },
        transformers=(
            "granitemoehybrid",
            "GraniteMoeHybrid",
            {
                "vocab_size": 100352,
                "hidden_size": 1536,
                "num_hidden_layers": 40,
                "num_attention_heads": 12,
                "num_key_value_heads": 4,
                "shared_intermediate_size": 4096,
                "num_local_experts": 0,
                "num_experts_per_tok": 0,
                "mamba_n_heads": 48,
                "mamba_d_head": 64,
                "mamba_d_state": 128,
                "mamba_n_groups": 1,
                "tie_word_embeddings": True,
                "layer_types": ["attention" if i % 10 == 5 else "mamba" for i in range(40)],
            },
        ),
    ),
    Released(
        layout="Kimi Linear 48B-A3B",
        parameters=49.1e9,
        source="released model, 49B in its tensors",
        target={
            "width": 2304,
            "heads": 32,
            "mlp_width": 9216,
            "vocabulary": 163840,
            "options": {
                "kda": {"heads": 32, "key_size": 128, "value_size": 128},
                "mla": {"key_size": 128, "value_size": 128, "rope_size": 64, "rank": 512},
            },
        },
        mlp=lambda place: KIMI_EXPERTS if place else MLP,
        transformers=(
            "kimi_linear",
            "KimiLinear",
            {"layer_types": ["full_attention" if i % 4 == 3 or i == 26 else "linear_attention" for i in range(27)]},
        ),
    ),
    Released(
        layout="Jamba",
        parameters=52e9,
        source="2403.19887, section 3.1",
        target={"width": 4096, "heads": 32, "kv_heads": 8, "mlp_width": 14336, "vocabulary": 65536},
        mlp=lambda place: JAMBA_EXPERTS if place % 2 else MLP,
        left_out={"norms of dt, B and C in Mamba": 28 * (256 + 2 * 16)},
        transformers=("jamba", "Jamba", {}),
    ),
    Released(
        layout="LFM2",
        parameters=1_170_340_608,
        source="card of LFM2-1.2B",
        target={
            "width": 2048,
            "heads": 32,
            "kv_heads": 8,
            "mlp_width": 8192,
            "vocabulary": 65536,
            "tied_embeddings": True,
            "options": {"attention": {"qk_norm": True}},
        },
        transformers=(
            "lfm2",
            "Lfm2",
            {
                "hidden_size": 2048,
                "intermediate_size": 12288,
                "num_hidden_layers": 16,
                "full_attn_idxs": [2, 5, 8, 10, 12, 14],
            },
        ),
    ),
    Released(
        layout="RecurrentGemma 2B",
        parameters=2.68e9,
        source="2404.07839, table 1, and released model",
        target={
            "width": 2560,
            "heads": 10,
            "kv_heads": 1,
            "mlp_width": 7680,
            "vocabulary": 256000,
            "tied_embeddings": True,
        },
        mlp=lambda place: Part("geglu"),
        left_out={
            "biases of channel mixers": 26 * (2 * 7680 + 2560),
            "biases of the output projection of attention": 8 * 2560,
        },
        transformers=("recurrent_gemma", "RecurrentGemma", {"intermediate_size": 15360, "num_key_value_heads": 1}),
    ),
    Released(
        layout="Samba 421M",
        parameters=421e6,
        source="2406.07522; Samba_421M of its released configurations",
        target={"width": 1536, "heads": 12, "mlp_width": 4096, "vocabulary": 32000, "tied_embeddings": True},
    ),
    Released(
        layout="Qwen3-Next",
        parameters=79.7e9,
        source="released model without its multi-token prediction",
        target={
            "width": 2048,
            "heads": 16,
            "kv_heads": 2,
            "mlp_width": 5632,
            "vocabulary": 151936,
            "options": {
                "gated_deltanet": {"heads": 32, "heads_per_key": 2, "key_size": 128, "value_size": 128},
                "gated_attention": {"key_size": 256, "value_size": 256},
            },
        },
        mlp=lambda place: QWEN_EXPERTS,
        transformers=("qwen3_next", "Qwen3Next", {}),
    ),
    Released(
        layout="xLSTM 7B",
        parameters=6.87e9,
        source="2503.13427, abstract and released model",
        target={"width": 4096, "heads": 32, "mlp_width": 10944, "vocabulary": 50304},
        transformers=("xlstm", "xLSTM", {}),
    ),
]


def built(model: Released) -> int:
    """Parameters of our model, which takes no memory."""
    layout = model.layers()
    target = Target(layers=len(layout.layers), **model.target)
    with torch.device("meta"):
        found = sum(p.numel() for p in build_model(target.layout(layout), target.sizes).parameters())
    assert cost(layout, target).parameters == found
    return found


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.layout)
def test_parameters_are_the_published_ones_within_a_hundredth(model):
    assert built(model) == pytest.approx(model.parameters, rel=0.01)


@pytest.mark.parametrize("model", [m for m in MODELS if m.transformers], ids=lambda model: model.layout)
def test_parameters_are_those_of_transformers_but_for_what_is_left_out(model):
    name, stem, options = model.transformers
    pytest.importorskip("transformers", reason="transformers is not installed (pip install -e '.[test]')")
    config = getattr(import_module(f"transformers.models.{name}.configuration_{name}"), f"{stem}Config")(**options)
    kind = getattr(import_module(f"transformers.models.{name}.modeling_{name}"), f"{stem}ForCausalLM")
    with torch.device("meta"):
        theirs = sum(p.numel() for p in kind(config).parameters())
    assert built(model) + sum(model.left_out.values()) == theirs
