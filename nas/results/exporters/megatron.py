"""Arguments of Megatron-LM's hybrid models: a pattern with a letter for each mixer and each channel mixer."""

import shlex
from collections.abc import Mapping
from typing import Any

from nas.results.exporters.config_json import Stack
from nas.results.exporters.nemotron_h import NemotronH
from search_space.cost.cost import cost
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.layouts.resize import resize_note
from search_space.parts.part import Part

LETTERS = {"mamba2": "M", "attention": "*", "none": ""}
NUMBERS = {
    "--num-layers": "num_hidden_layers",
    "--hidden-size": "hidden_size",
    "--ffn-hidden-size": "intermediate_size",
    "--num-attention-heads": "num_attention_heads",
    "--num-query-groups": "num_key_value_heads",
    "--kv-channels": "head_dim",
    "--max-position-embeddings": "max_position_embeddings",
    "--mamba-num-heads": "mamba_num_heads",
    "--mamba-head-dim": "mamba_head_dim",
    "--mamba-num-groups": "n_groups",
    "--mamba-state-dim": "ssm_state_size",
    "--vocab-size": "vocab_size",
}
"""Argument -> its key in the config.json of Nemotron-H, which describes the same models."""


class Megatron(NemotronH):
    """A file of arguments, one a line; `#` begins a comment. Its Mamba-2 has convolutions of width 4."""

    suffix = "args"
    model_type = "megatron"
    needs = ()
    tool = "Megatron-LM"
    checked = "format checked, tool not run"

    def misfit(self, kind: str, mixer: Any, target: Target) -> str | None:
        """The width of the convolution is no argument."""
        if kind == "mamba2" and mixer.conv.width != 4:
            return "mamba2 with a short convolution of width 4"
        return super().misfit(kind, mixer, target)

    def __call__(self, layout: Layout, target: Target) -> str:
        """The arguments at the target's depth and sizes.

        Raises:
            InputError: the format cannot hold a layer, which is named.
        """
        layers = target.layout(layout).layers
        for i, block in enumerate(layers):
            expected = self.refusal(block, target)
            if expected:
                raise InputError(f"layers[{i}]", block, expected)
        stack = Stack(layers, target)
        fields = {**self.sizes(stack), **self.fields(stack)}
        pattern = "".join(LETTERS[block.mixer.kind] + "-" * bool(block.mlp) for block in layers)
        theta = stack.mixers["attention"].rope_theta if "attention" in stack.mixers else None
        lines = [
            f"# {Layout(layers)}",
            f"# {cost(layout, target).parameters:,} parameters; {resize_note(layout, target.layers, target.resize)}",
            f"--hybrid-override-pattern {shlex.quote(pattern)}",
            *(f"{argument} {fields[key]}" for argument, key in NUMBERS.items() if key in fields),
            *(["--position-embedding-type none"] if theta is None else ["--position-embedding-type rope"]),
            *([] if theta is None else [f"--rotary-base {theta:g}"]),
            "--squared-relu",
            "--normalization RMSNorm",
            "--disable-bias-linear",
            *([] if target.tied_embeddings else ["--untie-embeddings-and-output-weights"]),
        ]
        return "\n".join(lines) + "\n"

    def read(self, fields: Mapping[str, Any]) -> tuple[Layout, dict[str, Any]]:
        """The layout of {argument: value}, as `arguments` gives them, and the sizes of the model."""
        named = {key: int(fields[argument]) for argument, key in NUMBERS.items() if argument in fields}
        named |= {"hybrid_override_pattern": fields.get("--hybrid-override-pattern", ""), "conv_kernel": 4}
        named["tie_word_embeddings"] = "--untie-embeddings-and-output-weights" not in fields
        rope = fields.get("--position-embedding-type", "rope") == "rope"
        return super().read({**named, "rotary_base": float(fields.get("--rotary-base", 1e4)) if rope else None})

    def blocks(self, fields: Mapping[str, Any]) -> list[Block]:
        """Those of the pattern; attention with its positions."""
        base = {"rope_theta": fields["rotary_base"]}
        return [
            Block(Part("attention", {**dict(b.mixer.options), **base}), b.mlp) if b.mixer.kind == "attention" else b
            for b in super().blocks(fields)
        ]


def arguments(text: str) -> dict[str, str]:
    """The arguments of a file: name -> value; those without one have an empty text."""
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    return {words[0]: words[1] if len(words) > 1 else "" for words in lines if words}
