"""The target: the model and the use that efficiency is stated for."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from search_space import limits
from search_space.checks import positive
from search_space.cost.devices import Device, find_device
from search_space.cost.measured import SIZES, Profile, load_profile
from search_space.errors import InputError, one_of
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.layouts.reading import check_reading
from search_space.layouts.resize import RULES, resize
from search_space.model import Sizes
from search_space.parts.build import check_mixer_options
from search_space.parts.part import Part


@dataclass(frozen=True, kw_only=True)
class Target:
    """Sizes of the model that a layout is meant for, and how it is served.

    The defaults are the 1.3B models of 2507.06457 (24 layers, width 2048, SwiGLU 5632, vocabulary 32,000,
    untied) with attention heads of 64, serving 8 sequences of 32k tokens on an H100.

    Args:
        layers: depth; a layout of another depth is resized to it.
        resize: auto (a layout that repeats a pattern goes on repeating it, others are stretched), pattern (any layout
            is repeated and cut) or stretch; search_space/layouts/resize.py has the rule.
        width: model width.
        heads: query heads of the attention layers.
        kv_heads: key-value heads of the attention layers; null means as many as `heads`.
        mlp_width: hidden width of the channel mixers whose block states no ratio.
        vocabulary: tokens in the vocabulary.
        tied_embeddings: whether input embedding and head are one matrix.
        batch: sequences that are decoded at once, B.
        context: tokens that each sequence holds, n.
        cache_element_bytes: bytes of a cached key, value or short-convolution input. Recurrent state is fp32.
        weight_bytes: bytes of a parameter.
        device: name in the table of devices, or {flops: FLOP/s, bandwidth: bytes/s, memory: bytes}.
        devices: so many of the device share every layer out (tensor parallelism, 1909.08053); a divisor of `heads`.
        profile: file of `nas profile` for models of these sizes; its measured times take the place of the device's
            roofline. null means the roofline. Times of several devices are not measured.
        options: options that mixers take in the target, where a block does not state them itself:
            {mixer: {option: value}}.

    Raises:
        InputError: a value cannot be used; the key begins with "target".
    """

    layers: int = 24
    resize: str = "auto"
    width: int = 2048
    heads: int = 32
    kv_heads: int | None = None
    mlp_width: int = 5632
    vocabulary: int = 32_000
    tied_embeddings: bool = False
    batch: int = 8
    context: int = 32_768
    cache_element_bytes: int = 2
    weight_bytes: int = 2
    device: Any = "h100"
    devices: int = 1
    profile: str | None = None
    options: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self):
        for key in ("width", "heads", "mlp_width", "vocabulary", "cache_element_bytes", "weight_bytes"):
            positive(f"target.{key}", getattr(self, key))
        for key, most in (("layers", limits.LAYERS), ("batch", limits.TOKENS), ("context", limits.TOKENS)):
            positive(f"target.{key}", getattr(self, key), most)
        if self.resize not in RULES:
            raise InputError("target.resize", self.resize, one_of(self.resize, RULES))
        if self.heads % positive("target.kv_heads", self.heads if self.kv_heads is None else self.kv_heads):
            raise InputError("target.kv_heads", self.kv_heads, f"a divisor of heads={self.heads}")
        check_mixer_options(self.options, "target.options")
        self._check_devices()
        if self.profile is not None:
            object.__setattr__(self, "profile", str(Path(self.profile).absolute()))
            _ = self.measured

    def _check_devices(self) -> None:
        link = self.hardware.link
        if self.heads % positive("target.devices", self.devices):
            raise InputError("target.devices", self.devices, f"a divisor of heads={self.heads}")
        if self.devices > 1 and link is None:
            raise InputError("target.device", self.device, "a device with a link to others: {.., link: bytes/s}")
        if self.devices > 1 and self.profile is not None:
            raise InputError("target.devices", self.devices, "1 where times are measured: they are those of one device")

    @cached_property
    def hardware(self) -> Device:
        """The device's peak rates."""
        return find_device(self.device)

    @property
    def sizes(self) -> Sizes:
        """Sizes of the model, to build it with."""
        return Sizes(
            width=self.width,
            heads=self.heads,
            kv_heads=self.kv_heads or self.heads,
            mlp_width=self.mlp_width,
            vocabulary=self.vocabulary,
            tied_embeddings=self.tied_embeddings,
        )

    @property
    def profiled_sizes(self) -> dict[str, int]:
        """Those that measured times depend on."""
        return {name: getattr(self.sizes, name) for name in SIZES}

    def part(self, part: Part) -> Part:
        """The part as the target has it: with `options` where it does not state its own."""
        return part.over(self.options.get(part.kind, {}))

    def layout(self, layout: Layout) -> Layout:
        """The layout as the target has it: at its depth, with `options`; `build_model(.., target.sizes)` builds it.

        Raises:
            InputError: a layer reads keys and values that none below it keeps.
        """
        layers = resize(layout, self.layers, self.resize).layers
        found = Layout(tuple(Block(self.part(block.mixer), block.mlp) for block in layers))
        check_reading(found, self.sizes.dims())
        return found

    @cached_property
    def measured(self) -> Profile | None:
        """The profile, if there is one."""
        if self.profile is None:
            return None
        profile = load_profile(self.profile)
        if profile.sizes != self.profiled_sizes:
            sizes = self.profiled_sizes.items()
            wrong = [f"{name} {value}" for name, value in sizes if profile.sizes.get(name) != value]
            raise InputError("target.profile", self.profile, f"a profile of models with {', '.join(wrong)}")
        return profile

    @cached_property
    def rates(self) -> Device:
        """The device with its rates as they were measured, where they were."""
        if self.measured is None:
            return self.hardware
        return replace(self.hardware, flops=self.measured.flops, bandwidth=self.measured.bandwidth)

    @cached_property
    def prices(self) -> dict[Block, tuple[float, ...]]:
        """What blocks add to a model, as far as `cost` has worked it out."""
        return {}

    @property
    def description(self) -> str:
        """The target in a line, for titles."""
        device = self.device if isinstance(self.device, str) else "own device"
        if self.measured is not None:
            device = f"measured on {self.measured.about['device']}"
        if self.devices > 1:
            device = f"{self.devices} {device}"
        return f"{self.layers} layers, width {self.width}, B {self.batch}, n {self.context}, {device}"


TARGETS = {
    "study_1p3b": Target(),
    "study_340m": Target(width=1024, heads=16, mlp_width=2816),
}
"""The two scales of 2507.06457; their attention heads are not stated, and no cost depends on them."""
