"""The keys of Gated DeltaNet in transformers."""

from collections.abc import Mapping
from typing import Any

from nas.results.exporters.config_json import Stack
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
