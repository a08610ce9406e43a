"""What the exporters of a tool's config.json share: a JSON object that the tool's own model class builds.

Such a format has one size of each kind of layer, and its models differ from ours in details that the file states. The
key `nas` of the file says what the layout is, the parameters at both sides, and where they differ.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from search_space.cost.cost import cost
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import MLP, Block
from search_space.layouts.layout import Layout
from search_space.layouts.resize import resize_note
from search_space.parts.base import Dims
from search_space.parts.build import build_channel_mixer, build_mixer, mixer_class, options_of
from search_space.parts.part import BRANCHES, Part

TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
"""Until a tokenizer says otherwise."""


class Stack:
    """The layers of a model as they are built at a target's sizes, without memory.

    Args:
        layers: blocks of the target.
        target: its sizes.
        varying: mixers whose layers may differ.

    Attributes:
        mixers: kind of mixer -> the first that is built, as all of a kind are alike.
        hidden: width of the channel mixers.

    Raises:
        InputError: layers of one kind differ in their options, or channel mixers in theirs; names the second.
    """

    def __init__(self, layers: Sequence[Block], target: Target, varying: Sequence[str] = ()):
        self.layers, self.target = layers, target
        self.mixers: dict[str, Any] = {}
        self.hidden = target.mlp_width
        first: dict[str, tuple[int, Part]] = {}
        for i, block in enumerate(layers):
            for name, part in ((block.mixer.kind, block.mixer), ("channel mixer", block.mlp)):
                if not part:
                    continue
                place, known = first.setdefault(name, (i, part))
                if known != part and name not in varying:
                    raise InputError(f"layers[{i}]", part, f"{known} as in layers[{place}]: one set of sizes for all")
        with torch.device("meta"):
            for name, (_, part) in first.items():
                if name == "channel mixer":
                    self.hidden = build_channel_mixer(part, target.sizes.dims()).hidden  # type: ignore[attr-defined]
                else:
                    self.mixers[name] = build_mixer(part, target.sizes.dims(), name)

    def count(self, *kinds: str) -> int:
        """How many layers have one of these mixers."""
        return sum(block.mixer.kind in kinds for block in self.layers)

    def places(self, *kinds: str) -> list[int]:
        """Which layers they are, from 0."""
        return [i for i, block in enumerate(self.layers) if block.mixer.kind in kinds]


class ConfigJson(ABC):
    """Writes and reads the config.json of one model class.

    Class attributes:
        model_type: that the file names.
        architectures: model classes that the file names.
        kinds: mixer -> the format's word for a layer of it.
        channel_mixers: that every layer may have, one kind in all of them.
        needs: mixers of which the model class needs one layer at least.
        varying: mixers whose layers may differ in their options.
        ties: whether input embedding and head may be one matrix.
        tool: what loads the file.
        checked: how the tests know that it does.
    """

    suffix = "json"
    model_type: ClassVar[str]
    architectures: ClassVar[Sequence[str]] = ()
    kinds: ClassVar[Mapping[str, str]]
    channel_mixers: ClassVar[Sequence[str]] = (MLP.kind,)
    needs: ClassVar[Sequence[str]] = ()
    varying: ClassVar[Sequence[str]] = ()
    ties: ClassVar[bool] = True
    tool: ClassVar[str] = "transformers"
    checked: ClassVar[str] = "loaded and run"

    @property
    def holds(self) -> str:
        """What the format can hold, in a line."""
        return f"{', '.join(self.kinds)}; each with {' or '.join(self.channel_mixers)}"

    def refusal(self, block: Block, target: Target) -> str | None:
        """What was expected in the place of a block of the target that the format cannot hold; None if it can."""
        if block.mixer.kind not in self.kinds:
            return f"one of {', '.join(self.kinds)}"
        if block.mlp.kind not in self.channel_mixers:
            return f"{' or '.join(self.channel_mixers)} as the channel mixer of every layer"
        with torch.device("meta"):
            return self.misfit(
                block.mixer.kind, build_mixer(block.mixer, target.sizes.dims(), block.mixer.kind), target
            )

    def misfit(self, kind: str, mixer: Any, target: Target) -> str | None:
        """What was expected of a mixer that is built, where its sizes cannot be said; None where they can."""
        return None

    def check(self, stack: Stack) -> None:
        """Raises InputError for a layout as a whole that the model class cannot be."""
        if self.needs and not stack.count(*self.needs):
            expected = f"a layer of {' or '.join(self.needs)} at least: its model class fails without"
            raise InputError("layers", Layout(tuple(stack.layers)), expected)

    @abstractmethod
    def fields(self, stack: Stack) -> dict[str, Any]:
        """The keys that only this format has, the list of layers among them."""

    @abstractmethod
    def differences(self, stack: Stack) -> list[tuple[str, int]]:
        """Where the model differs from ours, and the parameters that it has more (or, negative, fewer) for it."""

    def sizes(self, stack: Stack) -> dict[str, Any]:
        """The keys that most formats share."""
        target = stack.target
        attention = next((m for m in stack.mixers.values() if hasattr(m, "kv_heads")), None)
        return {
            "vocab_size": target.vocabulary,
            "hidden_size": target.width,
            "intermediate_size": stack.hidden,
            "num_hidden_layers": len(stack.layers),
            "num_attention_heads": attention.heads if attention else target.heads,
            "num_key_value_heads": attention.kv_heads if attention else target.kv_heads or target.heads,
            "tie_word_embeddings": target.tied_embeddings and self.ties,
            "max_position_embeddings": target.context,
            **TOKENS,
        }

    def __call__(self, layout: Layout, target: Target) -> str:
        """The file at the target's depth and sizes.

        Raises:
            InputError: the format cannot hold a layer, which is named, or the layout as a whole.
        """
        layers = target.layout(layout).layers
        for i, block in enumerate(layers):
            expected = self.refusal(block, target)
            if expected:
                raise InputError(f"layers[{i}]", block, expected)
        stack = Stack(layers, target, self.varying)
        self.check(stack)
        ours, differences = cost(layout, target).parameters, self.differences(stack)
        if target.tied_embeddings and not self.ties:
            differences.append(("input embedding and head are two matrices", target.vocabulary * target.width))
        about = {
            "layout": str(Layout(layers)),
            "depth": resize_note(layout, target.layers, target.resize),
            "parameters": ours,
            "parameters_here": ours + sum(more for _, more in differences),
            "differences": [f"{text} ({more:+,} parameters)" if more else text for text, more in differences],
        }
        head = {"model_type": self.model_type, "architectures": list(self.architectures)}
        return json.dumps({**head, **self.sizes(stack), **self.fields(stack), "nas": about}, indent=2) + "\n"

    @abstractmethod
    def blocks(self, fields: Mapping[str, Any]) -> list[Block]:
        """The blocks of a file, with all options that it states; layer 0 first."""

    def read(self, fields: Mapping[str, Any]) -> tuple[Layout, dict[str, Any]]:
        """The layout of a file, and the sizes of its model under their names in `Target`.

        Raises:
            InputError: a key is missing or says what our layers cannot be.
        """
        try:
            heads, kv_heads = self.heads(fields)
            sizes = {
                "width": fields["hidden_size"],
                "heads": heads,
                "kv_heads": kv_heads,
                "mlp_width": self.mlp_width(fields),
                "vocabulary": fields["vocab_size"],
                "tied_embeddings": bool(fields.get("tie_word_embeddings", False)),
            }
            blocks = self.blocks(fields)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(self.model_type, error, "a config.json with the keys of its model class") from error
        dims = Dims(**{name: sizes[name] for name in ("width", "heads", "kv_heads", "mlp_width")})
        plain = {block: Block(simplified(block.mixer, dims), block.mlp) for block in dict.fromkeys(blocks)}
        layout = Layout(tuple(plain[block] for block in blocks))
        return layout, {"layers": len(blocks), **sizes}

    def heads(self, fields: Mapping[str, Any]) -> tuple[int, int]:
        """Query heads and key-value heads of a file."""
        heads = fields["num_attention_heads"]
        return heads, fields.get("num_key_value_heads") or heads

    def mlp_width(self, fields: Mapping[str, Any]) -> int:
        """Hidden width of the channel mixers of a file."""
        return fields["intermediate_size"]

    def words(self, fields: Mapping[str, Any], key: str = "layer_types") -> list[str]:
        """The mixers of a file's list of layers.

        Raises:
            InputError: it has a word that is none of the format's.
        """
        old = {"mamba": "linear_attention", "attention": "full_attention"}
        names = {word: mixer for mixer, word in self.kinds.items()}
        found = [word if word in names else old.get(word, word) for word in fields[key]]
        for i, word in enumerate(found):
            if word not in names:
                raise InputError(f"{key}[{i}]", word, f"one of {', '.join(names)}")
        return [names[word] for word in found]


def simplified(part: Part, dims: Dims) -> Part:
    """The part without the options that are as they would be anyhow."""
    if not part or not part.options:
        return part
    full = dict(part.options)
    if BRANCHES in full:
        return Part(part.kind, {**full, BRANCHES: [simplified(branch, dims) for branch in full[BRANCHES]]})

    def built(options: Mapping[str, Any]) -> list[Any]:
        with torch.device("meta"):
            mixer = build_mixer(Part(part.kind, options), dims, part.kind)
        named = [(name, getattr(mixer, "key_heads" if name == "n_groups" else name, None)) for name in known]
        return [value.width if name == "conv" else value for name, value in named]

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


def attention_part(fields: Mapping[str, Any], kind: str = "attention", **more: Any) -> Part:
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
