"""Qwen3.5 of transformers: Gated DeltaNet beside gated attention."""

from collections.abc import Mapping
from typing import Any

from nas.results.exporters.config_json import ConfigJson, Stack
from nas.results.exporters.delta_keys import delta_fields, delta_part
from nas.results.exporters.parts import attention_misfit, attention_part, rope
from search_space.cost.target import Target
from search_space.layouts.block import Block


class Qwen35(ConfigJson):
    """Qwen3.5: attention with a gate for each element, and norms of queries and keys."""

    model_type = "qwen3_5_text"
    architectures = ("Qwen3_5ForCausalLM",)
    kinds = {"gated_deltanet": "linear_attention", "gated_attention": "full_attention"}
    needs = ("gated_attention",)
    also = ("gate", "qk_norm")

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
        gates = stack.target.width * attention.heads * attention.value_size - attention.gate.weight.numel()
        norms = 2 * attention.key_size
        ours = sum(p.numel() for name, p in attention.named_parameters() if "norm" in name)
        found = [
            ("attention is gated by element, not by head", layers * gates),
            ("queries and keys of attention are normalised", layers * (norms - ours)),
        ]
        return [(text, more) for text, more in found if more]

    def blocks(self, fields: Mapping[str, Any]) -> list[Block]:
        """The list of layers; experts are read as one MLP."""
        own = {"gate": "element", "qk_norm": True}
        made = {"gated_deltanet": delta_part, "gated_attention": lambda f: attention_part(f, "gated_attention", **own)}
        return [Block(made[kind](fields)) for kind in self.words(fields)]
