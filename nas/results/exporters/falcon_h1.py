"""Falcon-H1 of transformers: attention and Mamba-2 side by side."""

from collections.abc import Mapping
from typing import Any

from nas.results.exporters.config_json import ConfigJson, Stack
from nas.results.exporters.mamba2_keys import mamba2_fields, mamba2_misfit, mamba2_part
from nas.results.exporters.parts import attention_misfit, attention_part, rope
from search_space.cost.target import Target
from search_space.layouts.block import Block
from search_space.parts.part import Part


class FalconH1(ConfigJson):
    """Falcon-H1: attention and Mamba-2 side by side in every layer."""

    model_type = "falcon_h1"
    architectures = ("FalconH1ForCausalLM",)
    kinds = {"parallel": "attention and Mamba-2"}

    @property
    def holds(self) -> str:
        """Its one kind of layer."""
        return "parallel(branches=[attention, mamba2], combine=sum, norm=false) in all layers; each with swiglu"

    def misfit(self, kind: str, mixer: Any, target: Target) -> str | None:
        """Two branches, summed."""
        found = {type(branch).__name__: branch for branch in mixer.branches}
        if set(found) != {"Attention", "Mamba2"} or len(mixer.branches) != 2:
            return "branches=[attention, mamba2]"
        if mixer.share_of_each != 1.0 or any(p.numel() for p in mixer.norms.parameters()):
            return "combine=sum and norm=false"
        inner = mamba2_misfit(found["Mamba2"], target, whole=True)
        return inner or attention_misfit(found["Attention"], target, head_dim=True)

    def fields(self, stack: Stack) -> dict[str, Any]:
        """Sizes of both branches; all multipliers are 1."""
        branches = {type(branch).__name__: branch for branch in stack.mixers["parallel"].branches}
        attention, mamba2 = branches["Attention"], branches["Mamba2"]
        return {
            "num_attention_heads": attention.heads,
            "num_key_value_heads": attention.kv_heads,
            "head_dim": attention.key_size,
            "mamba_d_ssm": mamba2.heads * mamba2.value_size,
            "mamba_rms_norm": True,
            "mamba_norm_before_gate": False,
            **rope(attention),
            **mamba2_fields(stack, mamba2),
        }

    def differences(self, stack: Stack) -> list[tuple[str, int]]:
        """None."""
        return []

    def blocks(self, fields: Mapping[str, Any]) -> list[Block]:
        """As many as it has layers."""
        dims = {"branches": [attention_part(fields), mamba2_part(fields)], "combine": "sum", "norm": False}
        return [Block(Part("parallel", dims))] * fields["num_hidden_layers"]
