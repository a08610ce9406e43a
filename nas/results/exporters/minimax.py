"""MiniMax-01 of transformers: Lightning attention beside attention."""

from collections.abc import Mapping
from typing import Any

from nas.results.exporters.config_json import ConfigJson, Stack
from nas.results.exporters.parts import attention_misfit, attention_part, rope
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.parts.part import Part


class MiniMax(ConfigJson):
    """MiniMax-01, with one expert: Lightning attention beside attention, with heads of one size."""

    model_type = "minimax"
    architectures = ("MiniMaxForCausalLM",)
    kinds = {"lightning": "linear_attention", "attention": "full_attention"}

    def refusal(self, block: Block, target: Target) -> str | None:
        """Its released slopes."""
        if dict(block.mixer.options).get("slopes", "minimax") != "minimax":
            return "lightning with the slopes of minimax"
        return super().refusal(block, target)

    def misfit(self, kind: str, mixer: Any, target: Target) -> str | None:
        """No convolution."""
        if kind == "attention":
            return attention_misfit(mixer, target, head_dim=True)
        if mixer.conv.width or mixer.key_size != mixer.value_size:
            return "lightning with keys and values of one size, without a short convolution"
        return None

    def check(self, stack: Stack) -> None:
        """Heads of both kinds are the same."""
        found = [(m.heads, m.key_size) for m in stack.mixers.values()]
        if len(set(found)) > 1:
            i = stack.places("lightning")[0]
            heads, size = next((m.heads, m.key_size) for n, m in stack.mixers.items() if n == "attention")
            fits = f"lightning(heads={heads}, key_size={size}, value_size={size}): the heads of attention are its own"
            raise InputError(f"layers[{i}]", stack.layers[i], fits)

    def fields(self, stack: Stack) -> dict[str, Any]:
        """Layers, and one expert."""
        mixer = next(iter(stack.mixers.values()))
        attention = stack.mixers.get("attention")
        found = {
            "layer_types": [self.kinds[block.mixer.kind] for block in stack.layers],
            "num_attention_heads": mixer.heads,
            "head_dim": mixer.key_size,
            "num_local_experts": 1,
            "num_experts_per_tok": 1,
        }
        if attention is None:
            return found | {"num_key_value_heads": mixer.heads}
        return found | rope(attention)

    def differences(self, stack: Stack) -> list[tuple[str, int]]:
        """Router and residual stream."""
        return [
            ("a router to the one expert", len(stack.layers) * stack.target.width),
            ("layers are added to the normed residual stream", 0),
        ]

    def blocks(self, fields: Mapping[str, Any]) -> list[Block]:
        """The list of layers; experts are read as one MLP."""
        types = fields.get("layer_types") or [
            "full_attention" if full else "linear_attention" for full in fields["attn_type_list"]
        ]
        heads, size = fields["num_attention_heads"], fields["head_dim"]
        made = {
            "lightning": Part("lightning", {"heads": heads, "key_size": size, "value_size": size}),
            "attention": attention_part(fields),
        }
        return [Block(made[kind]) for kind in self.words({"layer_types": types})]
