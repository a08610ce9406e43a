"""flash-linear-attention's config.json, which the flame trainer takes: one linear mixer, and attention in given layers."""

from collections.abc import Callable, Mapping
from typing import Any

from nas.results.exporters.config_json import ConfigJson, Stack, attention_misfit
from search_space.cost.target import Target
from search_space.errors import InputError, one_of
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.parts.part import Part

ATTENTION = ("attention", "sliding_window")


def _expanded(mixer: Any, width: int) -> dict[str, Any]:
    keys, values = (mixer.heads * size / width for size in (mixer.key_size, mixer.value_size))
    return {"expand_k": keys, "expand_v": values, "num_heads": mixer.heads}


def _by_head(mixer: Any, width: int) -> dict[str, Any]:
    return {"head_dim": mixer.key_size, "num_heads": mixer.heads, "expand_v": mixer.value_size / mixer.key_size}


Family = tuple[str, str, Callable[[Any, int], dict[str, Any]]]
FAMILIES: dict[str, Family] = {
    "gla": ("gla", "GLAForCausalLM", _expanded),
    "retnet": ("retnet", "RetNetForCausalLM", _expanded),
    "deltanet": ("delta_net", "DeltaNetForCausalLM", _expanded),
    "gated_deltanet": ("gated_deltanet", "GatedDeltaNetForCausalLM", _by_head),
    "kda": ("kda", "KDAForCausalLM", _by_head),
    "hgrn": ("hgrn", "HGRNForCausalLM", lambda mixer, width: {"expand_ratio": mixer.state_size // width}),
    "hgrn2": ("hgrn2", "HGRN2ForCausalLM", lambda mixer, width: {"num_heads": mixer.heads, "expand_ratio": mixer.key_size}),
}
"""Mixer -> its model type there, its model class, and the keys of its sizes."""


class Fla(ConfigJson):
    """JSON of one linear mixer with `attn`, the list of attention layers, from 0."""

    model_type = "gla"
    kinds = {**{kind: kind for kind in FAMILIES}, "attention": "attn", "sliding_window": "attn with window_size"}
    varying = ATTENTION
    tool = "flash-linear-attention, flame"
    checked = "loaded and built; run on a GPU only"

    @property
    def holds(self) -> str:
        """One linear mixer."""
        return f"one of {', '.join(FAMILIES)}, beside attention and sliding_window; each with swiglu"

    def misfit(self, kind: str, mixer: Any, target: Target) -> str | None:
        """Heads that share the width, where the format states no size."""
        if kind in ATTENTION:
            return attention_misfit(mixer, target, head_dim=False)
        if kind in ("hgrn", "hgrn2") and mixer.conv.width:
            return f"{kind} without a short convolution"
        if kind == "hgrn":
            return f"state_size a multiple of width={target.width}" if mixer.state_size % target.width else None
        if kind == "hgrn2" and not mixer.heads * mixer.key_size == mixer.heads * mixer.value_size == target.width:
            return f"heads x key_size = heads x value_size = width={target.width}"
        if kind in ("deltanet", "gated_deltanet", "kda") and not mixer.conv.width:
            return f"{kind} with a short convolution"
        return None

    def check(self, stack: Stack) -> None:
        """One linear mixer."""
        linear = [i for i, block in enumerate(stack.layers) if block.mixer.kind in FAMILIES]
        for i in linear:
            kind, first = (stack.layers[place].mixer.kind for place in (i, linear[0]))
            if kind != first:
                raise InputError(f"layers[{i}]", kind, f"{first} as in layers[{linear[0]}]: one linear mixer a model")

    def __call__(self, layout: Layout, target: Target) -> str:
        """The file, named after the linear mixer; after GLA, without a layer of it, where all layers are attention."""
        kind = next((b.mixer.kind for b in target.layout(layout).layers if b.mixer.kind in FAMILIES), "gla")
        one = type(self)()
        one.model_type, one.architectures = FAMILIES[kind][0], (FAMILIES[kind][1],)  # type: ignore[misc]
        return ConfigJson.__call__(one, layout, target)

    def sizes(self, stack: Stack) -> dict[str, Any]:
        """Heads are those of the linear mixer here."""
        shared = super().sizes(stack)
        return {key: value for key, value in shared.items() if "attention_heads" not in key and "key_value" not in key}

    def fields(self, stack: Stack) -> dict[str, Any]:
        """Sizes of the linear mixer, and the attention layers by their options."""
        target, found = stack.target, {}
        for kind, mixer in stack.mixers.items():
            if kind in FAMILIES:
                found = FAMILIES[kind][2](mixer, target.width)
                if kind not in ("hgrn", "hgrn2"):
                    found |= {"use_short_conv": bool(mixer.conv.width), "conv_size": mixer.conv.width or 4}
        places: dict[Block, list[int]] = {}
        for i, block in enumerate(stack.layers):
            if block.mixer.kind in ATTENTION:
                places.setdefault(block, []).append(i)
        attn = []
        for block, layers in places.items():
            mixer = Stack([block], target).mixers[block.mixer.kind]
            heads = {"num_heads": mixer.heads, "num_kv_heads": mixer.kv_heads, "qkv_bias": False}
            attn.append({"layers": layers, **heads, "window_size": mixer.window, "rope_theta": mixer.rope_theta})
        return {**found, "hidden_act": "swish", "attn": attn or None}

    def differences(self, stack: Stack) -> list[tuple[str, int]]:
        """Lower bounds of HGRN."""
        found = []
        for kind in ("hgrn", "hgrn2"):
            if kind in stack.mixers:
                size = stack.mixers[kind].gate.bounds.shape[1]
                rows = len(stack.layers) - stack.count(kind)
                found.append(("the table of lower bounds has a row for attention layers too", rows * size))
        if "kda" in stack.mixers:
            mixer = stack.mixers["kda"]
            bias = stack.count("kda") * mixer.heads * mixer.value_size
            found.append(("the gate of KDA has a bias", bias))
        return found

    def heads(self, fields: Mapping[str, Any]) -> tuple[int, int]:
        """Those of the first attention layers; without any, one for every 64 of the width."""
        first = next(iter(_specs(fields)), {"num_heads": max(1, fields["hidden_size"] // 64)})
        return first["num_heads"], first.get("num_kv_heads") or first["num_heads"]

    def mlp_width(self, fields: Mapping[str, Any]) -> int:
        """As stated, or by the ratio: two thirds of it, rounded up to a multiple of 256."""
        if fields.get("intermediate_size"):
            return fields["intermediate_size"]
        ratio = fields.get("hidden_ratio") or 4
        return 256 * -(-int(fields["hidden_size"] * ratio * 2 / 3) // 256)

    def blocks(self, fields: Mapping[str, Any]) -> list[Block]:
        """The linear mixer everywhere but in the layers of `attn`."""
        names = {model: kind for kind, (model, _, _) in FAMILIES.items()}
        if fields.get("model_type") not in names:
            raise InputError("model_type", fields.get("model_type"), one_of(str(fields.get("model_type")), list(names)))
        found = [Block(_linear(names[fields["model_type"]], fields))] * fields["num_hidden_layers"]
        for spec in _specs(fields):
            options = {key: spec.get(key) for key in ("rope_theta",)}
            heads = spec["num_heads"]
            options |= {"heads": heads, "kv_heads": spec.get("num_kv_heads") or heads}
            window = {"window": spec["window_size"]} if spec.get("window_size") else {}
            for layer in spec["layers"]:
                found[layer] = Block(Part("sliding_window" if window else "attention", {**options, **window}))
        return found


def _specs(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    attn = fields.get("attn") or []
    return [attn] if isinstance(attn, Mapping) else attn


def _linear(kind: str, fields: Mapping[str, Any]) -> Part:
    """The linear mixer of a file, with all options that it states."""
    width = fields["hidden_size"]
    if kind == "hgrn":
        return Part(kind, {"state_size": width * (fields.get("expand_ratio") or 1)})
    if kind == "hgrn2":
        size = fields.get("expand_ratio") or width // fields["num_heads"]
        return Part(kind, {"heads": width // size, "key_size": size, "value_size": size})
    if "expand_k" not in fields and "head_dim" not in fields:
        return Part(kind)  # without a layer of it
    heads = fields["num_heads"]
    conv = fields.get("conv_size", 4) if fields.get("use_short_conv", kind not in ("gla", "retnet")) else 0
    if "head_dim" in fields:
        keys, values = fields["head_dim"], round(fields["head_dim"] * fields["expand_v"])
    else:
        keys, values = (round(width * fields[name] / heads) for name in ("expand_k", "expand_v"))
    return Part(kind, {"heads": heads, "key_size": keys, "value_size": values, "conv": conv})
