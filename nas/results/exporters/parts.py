"""Parts as exporters say and read them: options that formats know, attention and its positions."""

from collections.abc import Mapping, Sequence
from typing import Any

from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.parts.base import Dims
from search_space.parts.build import build_mixer, mixer_class, options_of
from search_space.parts.part import BRANCHES, Part
from search_space.parts.shapes import shapes_only

NO_POSITIONS = "attention has no positions"
SIZES = {
    *("heads", "kv_heads", "key_size", "value_size", "rope_size", "rank", "state_size", "block_size", "channels"),
    *("n_groups", "conv", "window", "rope_theta", "slopes", "branches", "combine", "norm"),
}
"""Options that formats have keys for, or look at by themselves; any other has to be as it is by default."""


def simplified(part: Part, dims: Dims) -> Part:
    """The part without the options that are as they would be anyhow."""
    if not part or not part.options:
        return part
    full = dict(part.options)
    if BRANCHES in full:
        return Part(part.kind, {**full, BRANCHES: [simplified(branch, dims) for branch in full[BRANCHES]]})

    def built(options: Mapping[str, Any]) -> list[Any]:
        with shapes_only():
            mixer: Any = build_mixer(Part(part.kind, options), dims, part.kind)
        found = []
        for name, default in known.items():
            size = getattr(mixer, "key_heads" if name == "n_groups" else name, None)
            size = getattr(size, "width", None) if name == "conv" else size
            found.append(size if isinstance(size, int) else options.get(name, default))
        return found

    known = options_of(mixer_class(part))
    wanted = built(full)
    for name in list(full):
        fewer = {key: value for key, value in full.items() if key != name}
        try:
            if built(fewer) == wanted:
                full = fewer
        except InputError:
            continue
    return Part(part.kind, full)


def unknown_option(part: Part, also: Sequence[str] = ()) -> str | None:
    """An option that a part states, which is no size and not as it is by default; None where there is none."""
    defaults = options_of(mixer_class(part))
    for name, value in dict(part.options).items():
        if name == BRANCHES:
            return next(filter(None, (unknown_option(branch, also) for branch in value)), None)
        if name not in SIZES and name not in also and value != defaults[name]:
            return f"{name}={value}"
    return None


def attention_part(fields: Mapping[str, Any], kind: str = "attention", /, **more: Any) -> Part:
    """Attention of a file with the usual keys."""
    heads = fields["num_attention_heads"]
    size = fields.get("head_dim") or fields["hidden_size"] // heads
    options = {"heads": heads, "kv_heads": fields.get("num_key_value_heads") or heads, "key_size": size}
    return Part(kind, {**options, "value_size": size, "rope_theta": rope_theta(fields), **more})


def rope_theta(fields: Mapping[str, Any]) -> float:
    """Base of the rotary wavelengths, under its newer and its older name."""
    return float((fields.get("rope_parameters") or fields).get("rope_theta") or 10000.0)


def rope(mixer: Any, **more: Any) -> dict[str, Any]:
    """The key of the rotary positions of an attention layer."""
    return {"rope_parameters": {"rope_type": "default", "rope_theta": mixer.rope_theta or 10000.0, **more}}


def attention_misfit(mixer: Any, target: Target, *, head_dim: bool, positions: bool = True) -> str | None:
    """What was expected of an attention mixer.

    Args:
        mixer: that is built.
        target: its sizes.
        head_dim: whether the format states the size of a head by itself.
        positions: whether it has rotary positions always.
    """
    if mixer.conv.width:
        return "attention without a short convolution"
    if mixer.key_size != mixer.value_size:
        return "keys and values of one size"
    if not head_dim and mixer.heads * mixer.key_size != target.width:
        return f"heads x key_size = width={target.width}"
    if positions and mixer.rope_theta is None:
        return "attention with rotary positions"
    return None
