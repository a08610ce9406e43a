"""The keys of Mamba-2 in transformers."""

from collections.abc import Mapping
from typing import Any

from nas.results.exporters.config_json import Stack
from search_space.cost.target import Target
from search_space.parts.part import Part


def mamba2_misfit(mixer: Any, target: Target, *, whole: bool) -> str | None:
    """What was expected of Mamba-2; `whole`: whether its inner width has to be a multiple of the model's."""
    if not mixer.conv.width:
        return "mamba2 with a short convolution"
    if whole and mixer.heads * mixer.value_size % target.width:
        return f"heads x value_size of mamba2 to be a multiple of width={target.width}"
    return None


def mamba2_fields(stack: Stack, mixer: Any) -> dict[str, Any]:
    """The keys that Granite and Falcon-H1 share."""
    return {
        "mamba_n_heads": mixer.heads,
        "mamba_d_head": mixer.value_size,
        "mamba_n_groups": mixer.key_heads,
        "mamba_d_state": mixer.key_size,
        "mamba_d_conv": mixer.conv.width,
        "mamba_expand": mixer.heads * mixer.value_size // stack.target.width,
    }


def mamba2_part(fields: Mapping[str, Any]) -> Part:
    """The reverse."""
    options = {
        "heads": fields["mamba_n_heads"],
        "key_size": fields["mamba_d_state"],
        "value_size": fields["mamba_d_head"],
        "n_groups": fields["mamba_n_groups"],
        "conv": fields["mamba_d_conv"],
    }
    return Part("mamba2", options)
