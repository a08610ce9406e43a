"""Kimi Linear of transformers: KDA beside latent attention."""

from collections.abc import Mapping
from typing import Any

from nas.results.exporters.config_json import ConfigJson, Stack
from nas.results.exporters.parts import NO_POSITIONS
from search_space.cost.target import Target
from search_space.layouts.block import Block
from search_space.parts.part import Part


class KimiLinear(ConfigJson):
    """Kimi Linear, with MLPs in the place of its experts: KDA beside latent attention (MLA)."""

    model_type = "kimi_linear"
    architectures = ("KimiLinearForCausalLM",)
    kinds = {"kda": "linear_attention", "mla": "full_attention"}
    needs = ("mla",)
    ties = False

    def misfit(self, kind: str, mixer: Any, target: Target) -> str | None:
        """One size of KDA's heads."""
        if kind == "mla":
            return None
        if not mixer.conv.width:
            return "kda with a short convolution"
        return None if mixer.key_size == mixer.value_size else "kda with keys and values of one size"

    def fields(self, stack: Stack) -> dict[str, Any]:
        """Layers, and the sizes of both attentions."""
        mla, kda = stack.mixers["mla"], stack.mixers.get("kda")
        found = {
            "layer_types": [self.kinds[block.mixer.kind] for block in stack.layers],
            "mlp_layer_types": ["dense"] * len(stack.layers),
            "num_attention_heads": mla.heads,
            "num_key_value_heads": mla.heads,
            "kv_lora_rank": mla.rank,
            "qk_nope_head_dim": mla.key_size,
            "qk_rope_head_dim": mla.rope_size,
            "v_head_dim": mla.value_size,
            "model_max_length": stack.target.context,
        }
        if kda is not None:
            found |= {
                "linear_head_dim": kda.value_size,
                "linear_num_heads": kda.heads,
                "linear_conv_kernel_dim": kda.conv.width,
            }
        return found

    def differences(self, stack: Stack) -> list[tuple[str, int]]:
        """Positions."""
        return [(NO_POSITIONS, 0)] if stack.mixers["mla"].rope_theta is not None else []

    def blocks(self, fields: Mapping[str, Any]) -> list[Block]:
        """The list of layers, from 0; or the published lists of the two kinds, from 1."""
        lists = fields.get("linear_attn_config")
        if lists and "layer_types" not in fields:
            kinds = ["kda" if i + 1 in lists["kda_layers"] else "mla" for i in range(fields["num_hidden_layers"])]
            size, heads, conv = lists["head_dim"], lists["num_heads"], lists["short_conv_kernel_size"]
        else:
            kinds = self.words(fields)
            size, heads, conv = (fields.get(f"linear_{key}") for key in ("head_dim", "num_heads", "conv_kernel_dim"))
        mla = {
            "heads": fields["num_attention_heads"],
            "key_size": fields["qk_nope_head_dim"],
            "rope_size": fields["qk_rope_head_dim"],
            "rank": fields["kv_lora_rank"],
            "value_size": fields["v_head_dim"],
            "rope_theta": None,
        }
        kda = {"heads": heads, "key_size": size, "value_size": size, "conv": conv} if "kda" in kinds else {}
        made = {"kda": Part("kda", kda), "mla": Part("mla", mla)}
        return [Block(made[kind]) for kind in kinds]
