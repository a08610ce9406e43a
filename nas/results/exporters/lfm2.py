"""LFM2 of transformers: gated short convolutions beside attention."""

from collections.abc import Mapping
from typing import Any

from nas.results.exporters.config_json import ConfigJson, Stack
from nas.results.exporters.parts import attention_misfit, attention_part, rope
from search_space.cost.target import Target
from search_space.layouts.block import Block
from search_space.parts.part import Part


class Lfm2(ConfigJson):
    """LFM2: gated short convolutions beside attention."""

    model_type = "lfm2"
    architectures = ("Lfm2ForCausalLM",)
    kinds = {"short_conv": "conv", "attention": "full_attention"}
    needs = ("attention",)
    also = ("qk_norm",)

    def misfit(self, kind: str, mixer: Any, target: Target) -> str | None:
        """Heads share the width."""
        return None if kind == "short_conv" else attention_misfit(mixer, target, head_dim=False)

    def fields(self, stack: Stack) -> dict[str, Any]:
        """Layers, and the width of the convolution."""
        conv = stack.mixers.get("short_conv")
        return {
            "layer_types": [self.kinds[block.mixer.kind] for block in stack.layers],
            "conv_L_cache": conv.conv.width if conv is not None else 3,
            "conv_bias": False,
            "block_auto_adjust_ff_dim": False,
            **rope(stack.mixers["attention"]),
        }

    def differences(self, stack: Stack) -> list[tuple[str, int]]:
        """Norms."""
        if stack.option("attention", "qk_norm"):
            return []
        size = stack.mixers["attention"].key_size
        return [("queries and keys of attention are normalised", stack.count("attention") * 2 * size)]

    def mlp_width(self, fields: Mapping[str, Any]) -> int:
        """Two thirds of what is stated, rounded up, where the class adjusts it."""
        stated = fields.get("intermediate_size") or fields["block_ff_dim"]
        if not fields.get("block_auto_adjust_ff_dim", True):
            return stated
        adjusted = int(fields.get("block_ffn_dim_multiplier", 1.0) * int(2 * stated / 3))
        step = fields.get("block_multiple_of", 256)
        return step * -(-adjusted // step)

    def blocks(self, fields: Mapping[str, Any]) -> list[Block]:
        """The list of layers, or the older list of attention layers."""
        if not fields.get("layer_types"):
            full = fields["full_attn_idxs"]
            words = ["full_attention" if i in full else "conv" for i in range(fields["num_hidden_layers"])]
            fields = {**fields, "layer_types": words}
        attention, conv = attention_part(fields, qk_norm=True), Part("short_conv", {"conv": fields["conv_L_cache"]})
        made = {"short_conv": conv, "attention": attention}
        return [Block(made[kind]) for kind in self.words(fields)]
