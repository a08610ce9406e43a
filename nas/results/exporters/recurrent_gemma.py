"""RecurrentGemma of transformers: RG-LRU beside windows of attention."""

from collections.abc import Mapping
from typing import Any

from nas.results.exporters.config_json import ConfigJson, Stack
from nas.results.exporters.parts import attention_misfit, attention_part, rope, rope_theta
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.parts.part import Part


class RecurrentGemma(ConfigJson):
    """RecurrentGemma (Griffin): RG-LRU beside attention over a window."""

    model_type = "recurrent_gemma"
    architectures = ("RecurrentGemmaForCausalLM",)
    kinds = {"rg_lru": "recurrent", "sliding_window": "attention"}
    channel_mixers = ("geglu", "swiglu")
    needs = ("sliding_window",)

    def misfit(self, kind: str, mixer: Any, target: Target) -> str | None:
        """A convolution here, none there."""
        if kind == "rg_lru":
            return None if mixer.conv.width else "rg_lru with a short convolution"
        return attention_misfit(mixer, target, head_dim=True)

    def check(self, stack: Stack) -> None:
        """The heads of attention are also the blocks of the gates."""
        super().check(stack)
        lru, heads = stack.mixers.get("rg_lru"), stack.mixers["sliding_window"].heads
        if lru is not None and lru.state_size % heads:
            i = stack.places("rg_lru")[0]
            raise InputError(f"layers[{i}]", stack.layers[i], f"a state_size that the {heads} heads divide")

    def fields(self, stack: Stack) -> dict[str, Any]:
        """Layers, and the sizes of both kinds; it halves the hidden width that it is given."""
        window, lru = stack.mixers["sliding_window"], stack.mixers.get("rg_lru")
        act = "gelu_pytorch_tanh" if stack.layers[0].mlp.kind == "geglu" else "silu"
        return {
            "block_types": [self.kinds[block.mixer.kind] for block in stack.layers],
            "intermediate_size": 2 * stack.hidden,
            "head_dim": window.key_size,
            "attention_window_size": window.window,
            "hidden_activation": act,
            "lru_width": lru.state_size if lru is not None else stack.target.width,
            "conv1d_width": lru.conv.width if lru is not None else 4,
            **rope(window, partial_rotary_factor=1.0),
        }

    def differences(self, stack: Stack) -> list[tuple[str, int]]:
        """Biases, gates and scales."""
        d, lru, heads = stack.target.width, stack.mixers.get("rg_lru"), stack.mixers["sliding_window"].heads
        found = [
            ("MLPs have biases", len(stack.layers) * (2 * stack.hidden + d)),
            ("the last projection of attention has a bias", stack.count("sliding_window") * d),
            ("embeddings are scaled by the root of the width, logits capped softly at 30", 0),
        ]
        if lru is not None:
            size, blocks = lru.state_size, lru.gates.weight.shape[0]
            more = stack.count("rg_lru") * 2 * (size * size // heads - size * size // blocks)
            found.append((f"the maps of RG-LRU's gates have {heads} blocks, not {blocks}", more))
        return found

    def mlp_width(self, fields: Mapping[str, Any]) -> int:
        """Half of what is stated."""
        return fields["intermediate_size"] // 2

    def blocks(self, fields: Mapping[str, Any]) -> list[Block]:
        """The cycle of layers."""
        types, depth = fields.get("block_types") or fields["_block_types"], fields["num_hidden_layers"]
        kinds = self.words({"block_types": [types[i % len(types)] for i in range(depth)]}, "block_types")
        size = fields.get("lru_width") or fields["hidden_size"]
        lru = {"state_size": size, "block_size": size // fields["num_attention_heads"], "conv": fields["conv1d_width"]}
        window = {"window": fields["attention_window_size"], "rope_theta": rope_theta(fields)}
        made = {
            "rg_lru": Part("rg_lru", lru),
            "sliding_window": attention_part(fields, "sliding_window", **window),
        }
        mlp = Part("swiglu" if fields.get("hidden_activation") == "silu" else "geglu")
        return [Block(made[kind], mlp) for kind in kinds]
