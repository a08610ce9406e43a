"""Nemotron-H of transformers: Mamba-2, attention and MLPs, each a layer."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from nas.results.exporters.config_json import ConfigJson, Stack
from nas.results.exporters.mamba2_keys import mamba2_misfit
from nas.results.exporters.parts import NO_POSITIONS, attention_misfit, attention_part
from search_space.cost.target import Target
from search_space.layouts.block import Block
from search_space.parts.part import NONE, Part


class NemotronH(ConfigJson):
    """Nemotron-H: channel mixers are layers of their own, so a block may lack a mixer or a channel mixer."""

    model_type = "nemotron_h"
    architectures = ("NemotronHForCausalLM",)
    kinds = {"mamba2": "linear_attention", "attention": "full_attention", "none": "mlp"}
    channel_mixers = ("relu2", "none")
    needs: ClassVar[Sequence[str]] = ("attention",)
    ties = False

    def refusal(self, block: Block, target: Target) -> str | None:
        """A block without a mixer is an MLP."""
        if not block.mixer:
            return None if block.mlp.kind == "relu2" else "relu2 as the channel mixer"
        return super().refusal(block, target)

    def misfit(self, kind: str, mixer: Any, target: Target) -> str | None:
        """Sizes of heads are free."""
        if kind == "mamba2":
            return mamba2_misfit(mixer, target, whole=False)
        return attention_misfit(mixer, target, head_dim=True, positions=False)

    def fields(self, stack: Stack) -> dict[str, Any]:
        """Layers, each mixer and each channel mixer one; their number follows from the list."""
        words = []
        for block in stack.layers:
            words += [self.kinds[block.mixer.kind]] if block.mixer else []
            words += ["mlp"] if block.mlp else []
        found: dict[str, Any] = {
            "layers_block_type": words,
            "num_hidden_layers": len(words),
            "mlp_hidden_act": "relu2",
        }
        if "attention" in stack.mixers:
            found["head_dim"] = stack.mixers["attention"].key_size
        mixer = stack.mixers.get("mamba2")
        if mixer is not None:
            found |= {
                "mamba_num_heads": mixer.heads,
                "mamba_head_dim": mixer.value_size,
                "n_groups": mixer.key_heads,
                "ssm_state_size": mixer.key_size,
                "conv_kernel": mixer.conv.width,
                "expand": max(1, mixer.heads * mixer.value_size // stack.target.width),
            }
        return found

    def differences(self, stack: Stack) -> list[tuple[str, int]]:
        """Positions."""
        return [(NO_POSITIONS, 0)] if stack.mixers["attention"].rope_theta is not None else []

    def blocks(self, fields: Mapping[str, Any]) -> list[Block]:
        """The list of layers, or the older pattern of letters; a mixer takes the MLP behind it."""
        letters = {"M": "linear_attention", "*": "full_attention", "-": "mlp"}
        words = fields.get("layers_block_type") or [letters.get(c, c) for c in fields["hybrid_override_pattern"]]
        kinds = self.words({"layers": words}, "layers")
        made = {"attention": attention_part({**fields, "rope_theta": None}, rope_theta=None), "none": NONE}
        if "mamba2" in kinds:
            options = {
                "heads": fields["mamba_num_heads"],
                "key_size": fields["ssm_state_size"],
                "value_size": fields["mamba_head_dim"],
                "n_groups": fields["n_groups"],
                "conv": fields["conv_kernel"],
            }
            made["mamba2"] = Part("mamba2", options)
        found: list[Block] = []
        for kind in kinds:
            if kind == "none" and found and not found[-1].mlp:
                found[-1] = Block(found[-1].mixer, Part("relu2"))
            else:
                found.append(Block(made[kind], Part("relu2") if kind == "none" else NONE))
        return found
