"""Fast-LLM's configuration: named blocks, each with a mixer and an MLP of its own, and the list of their names."""

from collections.abc import Mapping
from typing import Any

import yaml

from nas.results.exporters.parts import attention_misfit, simplified, unknown_option
from search_space.cost.cost import cost
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.layouts.resize import resize_note
from search_space.parts.base import Dims
from search_space.parts.build import build_channel_mixer, build_mixer
from search_space.parts.part import Part
from search_space.parts.shapes import shapes_only

MIXERS = ("attention", "sliding_window", "gated_deltanet", "kda")
MLPS = {"swiglu": (True, "silu"), "glu": (True, "identity"), "relu2": (False, "squared_relu")}
"""Channel mixer -> whether it has a gate, and the activation."""
NORM = {"type": "rms_norm", "epsilon": 1e-5}


class FastLlm:
    """YAML with the key `model`; data, training and optimiser are yours."""

    suffix = "yaml"
    tool = "Fast-LLM"
    checked = "format checked, tool not run"
    holds = f"{', '.join(MIXERS)}, in any mixture and with options of their own; each with {' or '.join(MLPS)}"

    def refusal(self, block: Block, target: Target) -> str | None:
        """What was expected in the place of a block that the format cannot hold."""
        if block.mixer.kind not in MIXERS:
            return f"one of {', '.join(MIXERS)}"
        if block.mlp.kind not in MLPS:
            return f"{' or '.join(MLPS)} as the channel mixer"
        foreign = unknown_option(block.mixer)
        if foreign:
            return f"{block.mixer.kind} without {foreign}"
        with shapes_only():
            mixer: Any = build_mixer(block.mixer, target.sizes.dims(), block.mixer.kind)
        if block.mixer.kind in ("attention", "sliding_window"):
            return attention_misfit(mixer, target, head_dim=True, positions=False)
        if not mixer.conv.width:
            return f"{block.mixer.kind} with a short convolution"
        if block.mixer.kind == "kda" and mixer.key_size != mixer.value_size:
            return "kda with keys and values of one size"
        return None

    def __call__(self, layout: Layout, target: Target) -> str:
        """The file at the target's depth and sizes.

        Raises:
            InputError: the format cannot hold a layer, which is named.
        """
        placed = target.layout(layout)
        for i, block in enumerate(placed.layers):
            expected = self.refusal(block, target)
            if expected:
                raise InputError(f"layers[{i}]", block, expected)
        names = placed.to_dict()["layers"]
        decoder = {
            "type": "pattern",
            "blocks": {
                name: _block(block, target) for name, block in dict(zip(names, placed.layers, strict=True)).items()
            },
            "pattern": names,
            "num_blocks": len(names),
        }
        model = {
            "hidden_size": target.width,
            "tied_embedding_weight": target.tied_embeddings,
            "embeddings": {"vocab_size": target.vocabulary},
            "decoder": decoder,
            "head": {"normalization": NORM},
        }
        note = resize_note(layout, target.layers, target.resize)
        return f"# {cost(layout, target).parameters:,} parameters; {note}.\n" + yaml.safe_dump(
            {"model": {"base_model": model}}, sort_keys=False, default_flow_style=False
        )

    def read(self, fields: Mapping[str, Any]) -> tuple[Layout, dict[str, Any]]:
        """The layout of a file, and the sizes of its model under their names in `Target`.

        Raises:
            InputError: a key is missing, or a block is none of ours.
        """
        try:
            model = fields["model"]["base_model"]
            decoder, width = model["decoder"], model["hidden_size"]
            pattern, count = decoder["pattern"], decoder["num_blocks"]
            found = {name: _read(block, width) for name, block in decoder["blocks"].items()}
            hidden = decoder["blocks"][pattern[0]]["mlp"]["intermediate_size"]
            sizes = {
                "layers": count,
                "width": width,
                **_heads(decoder["blocks"].values(), width),
                "mlp_width": hidden,
                "vocabulary": model["embeddings"]["vocab_size"],
                "tied_embeddings": bool(model.get("tied_embedding_weight", False)),
            }
            dims = Dims(**{name: sizes[name] for name in ("width", "heads", "kv_heads", "mlp_width")})
            plain = {name: Block(simplified(b.mixer, dims), _mlp(b.mlp, dims)) for name, b in found.items()}
            return Layout(tuple(plain[pattern[i % len(pattern)]] for i in range(count))), sizes
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise InputError("model", error, "a Fast-LLM configuration with blocks and a pattern") from error


def _block(block: Block, target: Target) -> dict[str, Any]:
    with shapes_only():
        mixer: Any = build_mixer(block.mixer, target.sizes.dims(), block.mixer.kind)
        mlp: Any = build_channel_mixer(block.mlp, target.sizes.dims(), block.mlp.kind)
    gated, activation = MLPS[block.mlp.kind]
    if block.mixer.kind == "gated_deltanet":
        own = {"type": "gdn", "value_heads": mixer.heads, "key_heads": mixer.heads, "key_head_dim": mixer.key_size}
        own |= {"value_head_dim": mixer.value_size, "convolution_layer": {"kernel_size": mixer.conv.width}}
    elif block.mixer.kind == "kda":
        own = {"type": "kda", "heads": mixer.heads, "head_dim": mixer.key_size}
        own["convolution_layer"] = {"kernel_size": mixer.conv.width}
    else:
        theta = mixer.rope_theta
        rotary = {"type": "none"} if theta is None else {"type": "default", "theta": theta}
        own = {"type": "attention", "heads": mixer.heads, "head_groups": mixer.kv_heads, "head_size": mixer.key_size}
        own |= {"add_linear_biases": False, "window_size": mixer.window, "rotary": rotary}
    hidden = {"intermediate_size": mlp.hidden, "gated": gated, "activation": activation, "add_linear_biases": False}
    return {"mixer": own, "mlp": hidden, "normalization": dict(NORM)}


def _read(block: Mapping[str, Any], width: int) -> Block:
    own, hidden = block["mixer"], block["mlp"]
    kind = own.get("type", "attention")
    if kind == "gdn":
        options = {"heads": own["value_heads"], "key_size": own["key_head_dim"], "value_size": own["value_head_dim"]}
        mixer = Part("gated_deltanet", {**options, "conv": own["convolution_layer"]["kernel_size"]})
    elif kind == "kda":
        size, conv = own["head_dim"], own["convolution_layer"]["kernel_size"]
        mixer = Part("kda", {"heads": own["heads"], "key_size": size, "value_size": size, "conv": conv})
    elif kind == "attention":
        rotary = own.get("rotary") or {"type": "none"}
        theta = None if rotary["type"] == "none" else float(rotary.get("theta", 10000.0))
        sizes = {"heads": own["heads"], "kv_heads": own["head_groups"], "rope_theta": theta}
        sizes |= {"key_size": own["head_size"], "value_size": own["head_size"]}
        window = {"window": own["window_size"]} if own.get("window_size") else {}
        mixer = Part("sliding_window" if window else "attention", {**sizes, **window})
    else:
        raise InputError("mixer.type", kind, "attention, gdn or kda")
    names = {value: name for name, value in MLPS.items()}
    form = bool(hidden.get("gated", False)), hidden.get("activation", "silu")
    if form not in names:
        raise InputError("mlp.activation", form[1], "silu or identity with a gate, or squared_relu without")
    return Block(mixer, Part(names[form], {"ratio": hidden["intermediate_size"] / width}))


def _mlp(part: Part, dims: Dims) -> Part:
    """Without the ratio, where it is that of the model."""
    ratio = dict(part.options)["ratio"]
    return Part(part.kind) if round(ratio * dims.width) == dims.mlp_width else part


def _heads(blocks: Any, width: int) -> dict[str, int]:
    """Those of the first attention; without any, one for every 64 of the width."""
    for block in blocks:
        if block["mixer"].get("type", "attention") == "attention":
            return {"heads": block["mixer"]["heads"], "kv_heads": block["mixer"]["head_groups"]}
    return dict.fromkeys(("heads", "kv_heads"), max(1, width // 64))
