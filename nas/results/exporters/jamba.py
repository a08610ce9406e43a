"""Jamba of transformers: Mamba, and attention in every so many layers."""

from collections.abc import Mapping
from typing import Any

from nas.results.exporters.config_json import ConfigJson, Stack
from nas.results.exporters.parts import NO_POSITIONS, attention_misfit, attention_part
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.parts.part import Part


class Jamba(ConfigJson):
    """Jamba, with MLPs in the place of its experts: attention in every so many layers."""

    model_type = "jamba"
    architectures = ("JambaForCausalLM",)
    kinds = {"mamba": "mamba", "attention": "attention"}
    needs = ("attention",)

    @property
    def holds(self) -> str:
        """With its period."""
        return f"{super().holds}; attention at every so many layers"

    def misfit(self, kind: str, mixer: Any, target: Target) -> str | None:
        """Widths have to fit the model's."""
        if kind == "mamba":
            if not mixer.conv.width:
                return "mamba with a short convolution"
            return (
                f"channels of mamba to be a multiple of width={target.width}" if mixer.channels % target.width else None
            )
        return attention_misfit(mixer, target, head_dim=False, positions=False)

    def check(self, stack: Stack) -> None:
        """Attention is evenly spaced."""
        super().check(stack)
        places, depth = stack.places("attention"), len(stack.layers)
        period = places[1] - places[0] if len(places) > 1 else depth
        expected = list(range(places[0] % period, depth, period))
        if places != expected:
            wrong = next(i for i in range(depth) if (i in places) != (i in expected))
            kind = "attention" if wrong in expected else "mamba"
            said = f"{kind}: attention is at layers {places[0]} and {places[0] + period}, and has to keep that distance"
            raise InputError(f"layers[{wrong}]", stack.layers[wrong], said)

    def fields(self, stack: Stack) -> dict[str, Any]:
        """Period and offset of attention."""
        places, mamba = stack.places("attention"), stack.mixers.get("mamba")
        found: dict[str, Any] = {
            "attn_layer_period": places[1] - places[0] if len(places) > 1 else len(stack.layers),
            "attn_layer_offset": places[0],
            "num_experts": 1,
            "num_experts_per_tok": 1,
        }
        if mamba is not None:
            found |= {
                "mamba_d_state": mamba.key_size,
                "mamba_d_conv": mamba.conv.width,
                "mamba_expand": mamba.channels // stack.target.width,
                "mamba_dt_rank": mamba.rank,
            }
        return found

    def differences(self, stack: Stack) -> list[tuple[str, int]]:
        """Norms and positions."""
        found = [(NO_POSITIONS, 0)] if stack.mixers["attention"].rope_theta is not None else []
        if "mamba" in stack.mixers:
            mamba = stack.mixers["mamba"]
            more = stack.count("mamba") * (mamba.rank + 2 * mamba.key_size)
            found.append(("steps, keys and queries of Mamba are normalised", more))
        return found

    def blocks(self, fields: Mapping[str, Any]) -> list[Block]:
        """From period and offset."""
        options = {
            "channels": fields["mamba_expand"] * fields["hidden_size"],
            "key_size": fields["mamba_d_state"],
            "rank": fields["mamba_dt_rank"],
            "conv": fields["mamba_d_conv"],
        } if fields.get("mamba_d_state") else {}  # fmt: skip
        period, offset = fields["attn_layer_period"], fields["attn_layer_offset"]
        attention = attention_part(fields, rope_theta=None)
        return [
            Block(attention if i % period == offset else Part("mamba", options))
            for i in range(fields["num_hidden_layers"])
        ]
