"""Mamba and Mamba-2 beside attention: Nemotron-H, Granite 4 hybrid, Falcon-H1 and Jamba of transformers."""

from collections.abc import Mapping
from typing import Any

from nas.results.exporters.config_json import ConfigJson, Stack, attention_misfit, attention_part, rope
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.parts.part import NONE, Part

NO_POSITIONS = "attention has no positions"


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


class NemotronH(ConfigJson):
    """Nemotron-H: channel mixers are layers of their own, so a block may lack a mixer or a channel mixer."""

    model_type = "nemotron_h"
    architectures = ("NemotronHForCausalLM",)
    kinds = {"mamba2": "linear_attention", "attention": "full_attention", "none": "mlp"}
    channel_mixers = ("relu2", "none")
    needs = ("attention",)
    ties = False

    def refusal(self, block: Block, target: Target) -> str | None:
        """A block without a mixer is an MLP."""
        if not block.mixer:
            return None if block.mlp.kind == "relu2" else "relu2 as the channel mixer"
        return super().refusal(block, target)

    def misfit(self, kind: str, mixer: Any, target: Target) -> str | None:
        """Sizes of heads are free."""
        if kind == "mamba2":
            return mamba2_misfit(mixer, target, whole=False)
        return attention_misfit(mixer, target, head_dim=True, positions=False)

    def fields(self, stack: Stack) -> dict[str, Any]:
        """Layers, each mixer and each channel mixer one; their number follows from the list."""
        words = []
        for block in stack.layers:
            words += [self.kinds[block.mixer.kind]] if block.mixer else []
            words += ["mlp"] if block.mlp else []
        found: dict[str, Any] = {
            "layers_block_type": words,
            "num_hidden_layers": len(words),
            "head_dim": stack.mixers["attention"].key_size,
            "mlp_hidden_act": "relu2",
        }
        mixer = stack.mixers.get("mamba2")
        if mixer is not None:
            found |= {
                "mamba_num_heads": mixer.heads,
                "mamba_head_dim": mixer.value_size,
                "n_groups": mixer.key_heads,
                "ssm_state_size": mixer.key_size,
                "conv_kernel": mixer.conv.width,
                "expand": max(1, mixer.heads * mixer.value_size // stack.target.width),
            }
        return found

    def differences(self, stack: Stack) -> list[tuple[str, int]]:
        """Positions."""
        return [(NO_POSITIONS, 0)] if stack.mixers["attention"].rope_theta is not None else []

    def blocks(self, fields: Mapping[str, Any]) -> list[Block]:
        """The list of layers, or the older pattern of letters; a mixer takes the MLP behind it."""
        letters = {"M": "linear_attention", "*": "full_attention", "-": "mlp"}
        words = fields.get("layers_block_type") or [letters.get(c, c) for c in fields["hybrid_override_pattern"]]
        kinds = self.words({"layers": words}, "layers")
        made = {"attention": attention_part({**fields, "rope_theta": None}, rope_theta=None), "none": NONE}
        if "mamba2" in kinds:
            options = {
                "heads": fields["mamba_num_heads"],
                "key_size": fields["ssm_state_size"],
                "value_size": fields["mamba_head_dim"],
                "n_groups": fields["n_groups"],
                "conv": fields["conv_kernel"],
            }
            made["mamba2"] = Part("mamba2", options)
        found: list[Block] = []
        for kind in kinds:
            if kind == "none" and found and not found[-1].mlp:
                found[-1] = Block(found[-1].mixer, Part("relu2"))
            else:
                found.append(Block(made[kind], Part("relu2") if kind == "none" else NONE))
        return found


class Granite(ConfigJson):
    """Granite 4 hybrid, with MLPs in the place of its experts."""

    model_type = "granitemoehybrid"
    architectures = ("GraniteMoeHybridForCausalLM",)
    kinds = {"mamba2": "linear_attention", "attention": "full_attention"}
    needs = ("attention",)

    def misfit(self, kind: str, mixer: Any, target: Target) -> str | None:
        """Widths have to fit the model's."""
        if kind == "mamba2":
            return mamba2_misfit(mixer, target, whole=True)
        return attention_misfit(mixer, target, head_dim=False, positions=False)

    def fields(self, stack: Stack) -> dict[str, Any]:
        """Layers; attention is scaled as usual, and has positions or none."""
        attention = stack.mixers["attention"]
        mamba2 = stack.mixers.get("mamba2")
        return {
            "layer_types": [self.kinds[block.mixer.kind] for block in stack.layers],
            "num_local_experts": 0,
            "num_experts_per_tok": 0,
            "shared_intermediate_size": stack.hidden,
            "position_embedding_type": None if attention.rope_theta is None else "rope",
            "attention_multiplier": attention.key_size**-0.5,
            **rope(attention),
            **(mamba2_fields(stack, mamba2) if mamba2 is not None else {}),
        }

    def differences(self, stack: Stack) -> list[tuple[str, int]]:
        """None."""
        return []

    def mlp_width(self, fields: Mapping[str, Any]) -> int:
        """That of its shared MLP."""
        return fields["shared_intermediate_size"]

    def blocks(self, fields: Mapping[str, Any]) -> list[Block]:
        """The list of layers."""
        more = {} if fields.get("position_embedding_type") == "rope" else {"rope_theta": None}
        made = {"mamba2": mamba2_part, "attention": lambda f: attention_part(f, **more)}
        return [Block(made[kind](fields)) for kind in self.words(fields)]


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


class Jamba(ConfigJson):
    """Jamba, with MLPs in the place of its experts: attention in every so many layers."""

    model_type = "jamba"
    architectures = ("JambaForCausalLM",)
    kinds = {"mamba": "mamba", "attention": "attention"}
    needs = ("attention",)

    @property
    def holds(self) -> str:
        """With its period."""
        return f"{super().holds}; attention at every so many layers"

    def misfit(self, kind: str, mixer: Any, target: Target) -> str | None:
        """Widths have to fit the model's."""
        if kind == "mamba":
            if not mixer.conv.width:
                return "mamba with a short convolution"
            return (
                f"channels of mamba to be a multiple of width={target.width}" if mixer.channels % target.width else None
            )
        return attention_misfit(mixer, target, head_dim=False, positions=False)

    def check(self, stack: Stack) -> None:
        """Attention is evenly spaced."""
        super().check(stack)
        places, depth = stack.places("attention"), len(stack.layers)
        period = places[1] - places[0] if len(places) > 1 else depth
        expected = list(range(places[0] % period, depth, period))
        if places != expected:
            wrong = next(i for i in range(depth) if (i in places) != (i in expected))
            kind = "attention" if wrong in expected else "mamba"
            said = f"{kind}: attention is at layers {places[0]} and {places[0] + period}, and has to keep that distance"
            raise InputError(f"layers[{wrong}]", stack.layers[wrong], said)

    def fields(self, stack: Stack) -> dict[str, Any]:
        """Period and offset of attention."""
        places, mamba = stack.places("attention"), stack.mixers.get("mamba")
        found: dict[str, Any] = {
            "attn_layer_period": places[1] - places[0] if len(places) > 1 else len(stack.layers),
            "attn_layer_offset": places[0],
            "num_experts": 1,
            "num_experts_per_tok": 1,
        }
        if mamba is not None:
            found |= {
                "mamba_d_state": mamba.key_size,
                "mamba_d_conv": mamba.conv.width,
                "mamba_expand": mamba.channels // stack.target.width,
                "mamba_dt_rank": mamba.rank,
            }
        return found

    def differences(self, stack: Stack) -> list[tuple[str, int]]:
        """Norms and positions."""
        found = [(NO_POSITIONS, 0)] if stack.mixers["attention"].rope_theta is not None else []
        if "mamba" in stack.mixers:
            mamba = stack.mixers["mamba"]
            more = stack.count("mamba") * (mamba.rank + 2 * mamba.key_size)
            found.append(("steps, keys and queries of Mamba are normalised", more))
        return found

    def blocks(self, fields: Mapping[str, Any]) -> list[Block]:
        """From period and offset."""
        options = {
            "channels": fields["mamba_expand"] * fields["hidden_size"],
            "key_size": fields["mamba_d_state"],
            "rank": fields["mamba_dt_rank"],
            "conv": fields["mamba_d_conv"],
        } if fields.get("mamba_d_state") else {}  # fmt: skip
        period, offset = fields["attn_layer_period"], fields["attn_layer_offset"]
        attention = attention_part(fields, rope_theta=None)
        return [
            Block(attention if i % period == offset else Part("mamba", options))
            for i in range(fields["num_hidden_layers"])
        ]
