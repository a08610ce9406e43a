"""Granite 4 hybrid of transformers: Mamba-2 beside attention."""

from collections.abc import Mapping
from typing import Any

from nas.results.exporters.config_json import ConfigJson, Stack
from nas.results.exporters.mamba2_keys import mamba2_fields, mamba2_misfit, mamba2_part
from nas.results.exporters.parts import attention_misfit, attention_part, rope
from search_space.cost.target import Target
from search_space.layouts.block import Block


class Granite(ConfigJson):
    """Granite 4 hybrid, with MLPs in the place of its experts."""

    model_type = "granitemoehybrid"
    architectures = ("GraniteMoeHybridForCausalLM",)
    kinds = {"mamba2": "linear_attention", "attention": "full_attention"}
    needs = ("attention",)

    def misfit(self, kind: str, mixer: Any, target: Target) -> str | None:
        """Widths have to fit the model's."""
        if kind == "mamba2":
            return mamba2_misfit(mixer, target, whole=True)
        return attention_misfit(mixer, target, head_dim=False, positions=False)

    def fields(self, stack: Stack) -> dict[str, Any]:
        """Layers; attention is scaled as usual, and has positions or none."""
        attention = stack.mixers["attention"]
        mamba2 = stack.mixers.get("mamba2")
        return {
            "layer_types": [self.kinds[block.mixer.kind] for block in stack.layers],
            "num_local_experts": 0,
            "num_experts_per_tok": 0,
            "shared_intermediate_size": stack.hidden,
            "position_embedding_type": None if attention.rope_theta is None else "rope",
            "attention_multiplier": attention.key_size**-0.5,
            **rope(attention),
            **(mamba2_fields(stack, mamba2) if mamba2 is not None else {}),
        }

    def differences(self, stack: Stack) -> list[tuple[str, int]]:
        """None."""
        return []

    def mlp_width(self, fields: Mapping[str, Any]) -> int:
        """That of its shared MLP."""
        return fields["shared_intermediate_size"]

    def blocks(self, fields: Mapping[str, Any]) -> list[Block]:
        """The list of layers."""
        more: dict[str, Any] = {} if fields.get("position_embedding_type") == "rope" else {"rope_theta": None}
        made = {"mamba2": mamba2_part, "attention": lambda f: attention_part(f, **more)}
        return [Block(made[kind](fields)) for kind in self.words(fields)]
