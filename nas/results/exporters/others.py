"""Kimi Linear, LFM2, MiniMax and RecurrentGemma of transformers."""

from collections.abc import Mapping
from typing import Any

from nas.results.exporters.config_json import ConfigJson, Stack, attention_misfit, attention_part, rope, rope_theta
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.parts.part import Part


class KimiLinear(ConfigJson):
    """Kimi Linear, with MLPs in the place of its experts: KDA beside latent attention (MLA)."""

    model_type = "kimi_linear"
    architectures = ("KimiLinearForCausalLM",)
    kinds = {"kda": "linear_attention", "attention": "full_attention"}
    needs = ("attention",)
    ties = False

    def misfit(self, kind: str, mixer: Any, target: Target) -> str | None:
        """One size of KDA's heads."""
        if kind == "kda":
            if not mixer.conv.width:
                return "kda with a short convolution"
            return None if mixer.key_size == mixer.value_size else "kda with keys and values of one size"
        return attention_misfit(mixer, target, head_dim=True, positions=False) or (
            "attention with keys of 4 elements at least" if mixer.key_size < 4 else None
        )

    def _latent(self, mixer: Any) -> tuple[int, int, int]:
        """Elements of a key without and with positions, and rank of the latent: in Kimi Linear 128, 64 and 4 x 128."""
        rotary = max(2, mixer.key_size // 3 // 2 * 2)
        return mixer.key_size - rotary, rotary, 4 * mixer.value_size

    def fields(self, stack: Stack) -> dict[str, Any]:
        """Layers, and the sizes of both attentions."""
        attention, kda = stack.mixers["attention"], stack.mixers.get("kda")
        plain, rotary, rank = self._latent(attention)
        found = {
            "layer_types": [self.kinds[block.mixer.kind] for block in stack.layers],
            "mlp_layer_types": ["dense"] * len(stack.layers),
            "num_key_value_heads": attention.heads,
            "kv_lora_rank": rank,
            "qk_nope_head_dim": plain,
            "qk_rope_head_dim": rotary,
            "v_head_dim": attention.value_size,
            "model_max_length": stack.target.context,
        }
        if kda is not None:
            found |= {
                "linear_head_dim": kda.value_size,
                "linear_num_heads": kda.heads,
                "linear_conv_kernel_dim": kda.conv.width,
            }
        return found

    def differences(self, stack: Stack) -> list[tuple[str, int]]:
        """Latent attention."""
        mixer, d = stack.mixers["attention"], stack.target.width
        plain, rotary, rank = self._latent(mixer)
        latent = d * mixer.heads * (plain + rotary) + d * (rank + rotary) + rank
        latent += rank * mixer.heads * (plain + mixer.value_size) + mixer.heads * mixer.value_size * d
        ours = sum(p.numel() for p in mixer.parameters())
        return [("attention is latent (MLA), without positions", stack.count("attention") * (latent - ours))]

    def blocks(self, fields: Mapping[str, Any]) -> list[Block]:
        """The list of layers, from 0; or the published lists of the two kinds, from 1."""
        lists = fields.get("linear_attn_config")
        if lists and "layer_types" not in fields:
            kinds = ["kda" if i + 1 in lists["kda_layers"] else "attention" for i in range(fields["num_hidden_layers"])]
            size, heads, conv = lists["head_dim"], lists["num_heads"], lists["short_conv_kernel_size"]
        else:
            kinds = self.words(fields)
            size, heads, conv = (fields.get(f"linear_{key}") for key in ("head_dim", "num_heads", "conv_kernel_dim"))
        made = {
            "kda": Part("kda", {"heads": heads, "key_size": size, "value_size": size, "conv": conv or 0}),
            "attention": Part(
                "attention",
                {
                    "heads": fields["num_attention_heads"],
                    "kv_heads": fields["num_attention_heads"],
                    "key_size": fields["qk_nope_head_dim"] + fields["qk_rope_head_dim"],
                    "value_size": fields["v_head_dim"],
                    "rope_theta": None,
                },
            ),
        }
        return [Block(made[kind]) for kind in kinds]


class Lfm2(ConfigJson):
    """LFM2: gated short convolutions beside attention."""

    model_type = "lfm2"
    architectures = ("Lfm2ForCausalLM",)
    kinds = {"short_conv": "conv", "attention": "full_attention"}
    needs = ("attention",)

    def misfit(self, kind: str, mixer: Any, target: Target) -> str | None:
        """Heads share the width."""
        return None if kind == "short_conv" else attention_misfit(mixer, target, head_dim=False)

    def fields(self, stack: Stack) -> dict[str, Any]:
        """Layers, and the width of the convolution."""
        conv = stack.mixers.get("short_conv")
        return {
            "layer_types": [self.kinds[block.mixer.kind] for block in stack.layers],
            "conv_L_cache": conv.conv.width if conv is not None else 3,
            "conv_bias": False,
            "block_auto_adjust_ff_dim": False,
            **rope(stack.mixers["attention"]),
        }

    def differences(self, stack: Stack) -> list[tuple[str, int]]:
        """Norms."""
        size = stack.mixers["attention"].key_size
        return [("queries and keys of attention are normalised", stack.count("attention") * 2 * size)]

    def mlp_width(self, fields: Mapping[str, Any]) -> int:
        """Two thirds of what is stated, rounded up, where the class adjusts it."""
        stated = fields.get("intermediate_size") or fields["block_ff_dim"]
        if not fields.get("block_auto_adjust_ff_dim", True):
            return stated
        adjusted = int(fields.get("block_ffn_dim_multiplier", 1.0) * int(2 * stated / 3))
        step = fields.get("block_multiple_of", 256)
        return step * -(-adjusted // step)

    def blocks(self, fields: Mapping[str, Any]) -> list[Block]:
        """The list of layers, or the older list of attention layers."""
        if not fields.get("layer_types"):
            full = fields["full_attn_idxs"]
            words = ["full_attention" if i in full else "conv" for i in range(fields["num_hidden_layers"])]
            fields = {**fields, "layer_types": words}
        made = {"short_conv": Part("short_conv", {"conv": fields["conv_L_cache"]}), "attention": attention_part(fields)}
        return [Block(made[kind]) for kind in self.words(fields)]


class MiniMax(ConfigJson):
    """MiniMax-01, with one expert: Lightning attention beside attention, with heads of one size."""

    model_type = "minimax"
    architectures = ("MiniMaxForCausalLM",)
    kinds = {"lightning": "linear_attention", "attention": "full_attention"}

    def refusal(self, block: Block, target: Target) -> str | None:
        """Its released slopes."""
        if dict(block.mixer.options).get("slopes", "minimax") != "minimax":
            return "lightning with the slopes of minimax"
        return super().refusal(block, target)

    def misfit(self, kind: str, mixer: Any, target: Target) -> str | None:
        """No convolution."""
        if kind == "attention":
            return attention_misfit(mixer, target, head_dim=True)
        if mixer.conv.width or mixer.key_size != mixer.value_size:
            return "lightning with keys and values of one size, without a short convolution"
        return None

    def check(self, stack: Stack) -> None:
        """Heads of both kinds are the same."""
        found = [(m.heads, m.key_size) for m in stack.mixers.values()]
        if len(set(found)) > 1:
            i = stack.places("lightning")[0]
            heads, size = next((m.heads, m.key_size) for n, m in stack.mixers.items() if n == "attention")
            fits = f"lightning(heads={heads}, key_size={size}, value_size={size}): the heads of attention are its own"
            raise InputError(f"layers[{i}]", stack.layers[i], fits)

    def fields(self, stack: Stack) -> dict[str, Any]:
        """Layers, and one expert."""
        mixer = next(iter(stack.mixers.values()))
        attention = stack.mixers.get("attention")
        found = {
            "layer_types": [self.kinds[block.mixer.kind] for block in stack.layers],
            "num_attention_heads": mixer.heads,
            "head_dim": mixer.key_size,
            "num_local_experts": 1,
            "num_experts_per_tok": 1,
        }
        if attention is None:
            return found | {"num_key_value_heads": mixer.heads}
        return found | rope(attention)

    def differences(self, stack: Stack) -> list[tuple[str, int]]:
        """Router and residual stream."""
        return [
            ("a router to the one expert", len(stack.layers) * stack.target.width),
            ("layers are added to the normed residual stream", 0),
        ]

    def blocks(self, fields: Mapping[str, Any]) -> list[Block]:
        """The list of layers; experts are read as one MLP."""
        types = fields.get("layer_types") or [
            "full_attention" if full else "linear_attention" for full in fields["attn_type_list"]
        ]
        heads, size = fields["num_attention_heads"], fields["head_dim"]
        made = {
            "lightning": Part("lightning", {"heads": heads, "key_size": size, "value_size": size}),
            "attention": attention_part(fields),
        }
        return [Block(made[kind]) for kind in self.words({"layer_types": types})]


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
