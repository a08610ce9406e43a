"""OLMo-Hybrid of transformers: Gated DeltaNet beside attention."""

from collections.abc import Mapping
from typing import Any

from nas.results.exporters.config_json import ConfigJson, Stack
from nas.results.exporters.delta_keys import delta_fields, delta_part
from nas.results.exporters.parts import attention_misfit, attention_part, rope
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.parts.part import Part


class OlmoHybrid(ConfigJson):
    """OLMo-Hybrid: plain attention with norms of all queries and keys."""

    model_type = "olmo_hybrid"
    architectures = ("OlmoHybridForCausalLM",)
    kinds = {"gated_deltanet": "linear_attention", "attention": "full_attention"}
    needs = ("attention",)
    also = ("negative_eigenvalues",)

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
        """Layers, and the sizes of heads."""
        return {
            "layer_types": [self.kinds[block.mixer.kind] for block in stack.layers],
            "linear_allow_neg_eigval": bool(stack.option("gated_deltanet", "negative_eigenvalues")),
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
        negative = {"negative_eigenvalues": bool(fields.get("linear_allow_neg_eigval", True))}
        delta = Part("gated_deltanet", {**dict(delta_part(fields).options), **negative})
        made = {"gated_deltanet": delta, "attention": attention_part(fields)}
        return [Block(made[kind]) for kind in self.words(fields)]
