"""Gated DeltaNet beside attention: Qwen3-Next, Qwen3.5 and OLMo-Hybrid of transformers."""

from collections.abc import Mapping
from typing import Any

from nas.results.exporters.config_json import ConfigJson, Stack, attention_misfit, attention_part, rope
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.parts.part import Part


def delta_fields(stack: Stack) -> dict[str, Any]:
    """The keys of Gated DeltaNet; none where no layer has it."""
    mixer = stack.mixers.get("gated_deltanet")
    if mixer is None:
        return {}
    return {
        "linear_num_key_heads": mixer.heads,
        "linear_num_value_heads": mixer.heads,
        "linear_key_head_dim": mixer.key_size,
        "linear_value_head_dim": mixer.value_size,
        "linear_conv_kernel_dim": mixer.conv.width,
    }


def delta_part(fields: Mapping[str, Any]) -> Part:
    """The reverse."""
    options = {
        "heads": fields["linear_num_value_heads"],
        "key_size": fields["linear_key_head_dim"],
        "value_size": fields["linear_value_head_dim"],
        "conv": fields["linear_conv_kernel_dim"],
    }
    return Part("gated_deltanet", options)


class Qwen35(ConfigJson):
    """Qwen3.5: attention with a gate for each element, and norms of queries and keys."""

    model_type = "qwen3_5_text"
    architectures = ("Qwen3_5ForCausalLM",)
    kinds = {"gated_deltanet": "linear_attention", "gated_attention": "full_attention"}
    needs = ("gated_attention",)

    def misfit(self, kind: str, mixer: Any, target: Target) -> str | None:
        """A convolution here, none there."""
        if kind == "gated_deltanet":
            return None if mixer.conv.width else "gated_deltanet with a short convolution"
        return attention_misfit(mixer, target, head_dim=True)

    def fields(self, stack: Stack) -> dict[str, Any]:
        """Layers, and the sizes of heads."""
        attention = stack.mixers["gated_attention"]
        return {
            "layer_types": [self.kinds[block.mixer.kind] for block in stack.layers],
            "head_dim": attention.key_size,
            **rope(attention, partial_rotary_factor=1.0),
            **delta_fields(stack),
        }

    def differences(self, stack: Stack) -> list[tuple[str, int]]:
        """Gates and norms of attention."""
        attention, layers = stack.mixers["gated_attention"], stack.count("gated_attention")
        per_head = stack.target.width * attention.heads
        return [
            ("attention is gated by element, not by head", layers * per_head * (attention.value_size - 1)),
            ("queries and keys of attention are normalised", layers * 2 * attention.key_size),
        ]

    def blocks(self, fields: Mapping[str, Any]) -> list[Block]:
        """The list of layers; experts are read as one MLP."""
        made = {"gated_deltanet": delta_part, "gated_attention": lambda f: attention_part(f, "gated_attention")}
        return [Block(made[kind](fields)) for kind in self.words(fields)]


class Qwen3Next(Qwen35):
    """Qwen3-Next: as Qwen3.5, with MLPs in the place of its experts."""

    model_type = "qwen3_next"
    architectures = ("Qwen3NextForCausalLM",)

    def fields(self, stack: Stack) -> dict[str, Any]:
        """Without experts."""
        return {**super().fields(stack), "num_experts": 0, "mlp_only_layers": list(range(len(stack.layers)))}


class OlmoHybrid(ConfigJson):
    """OLMo-Hybrid: plain attention with norms of all queries and keys."""

    model_type = "olmo_hybrid"
    architectures = ("OlmoHybridForCausalLM",)
    kinds = {"gated_deltanet": "linear_attention", "attention": "full_attention"}
    needs = ("attention",)

    def misfit(self, kind: str, mixer: Any, target: Target) -> str | None:
        """A convolution here, none there, and heads that share the width."""
        if kind == "gated_deltanet":
            return None if mixer.conv.width else "gated_deltanet with a short convolution"
        return attention_misfit(mixer, target, head_dim=False)

    def check(self, stack: Stack) -> None:
        """It needs both kinds."""
        for kind in self.kinds:
            if not stack.count(kind):
                expected = f"a layer of {kind} at least: its model class wants both kinds"
                raise InputError("layers", Layout(tuple(stack.layers)), expected)

    def fields(self, stack: Stack) -> dict[str, Any]:
        """Layers, and the sizes of heads; gates within (0, 1), as ours."""
        return {
            "layer_types": [self.kinds[block.mixer.kind] for block in stack.layers],
            "linear_allow_neg_eigval": False,
            **rope(stack.mixers["attention"]),
            **delta_fields(stack),
        }

    def differences(self, stack: Stack) -> list[tuple[str, int]]:
        """Norms."""
        attention = stack.mixers["attention"]
        norms = (attention.heads + attention.kv_heads) * attention.key_size
        return [
            ("queries and keys of attention are normalised, all heads together", stack.count("attention") * norms),
            ("attention layers have their norms behind mixer and MLP, not before them", 0),
        ]

    def blocks(self, fields: Mapping[str, Any]) -> list[Block]:
        """The list of layers."""
        made = {"gated_deltanet": delta_part, "attention": attention_part}
        return [Block(made[kind](fields)) for kind in self.words(fields)]
