"""The rule of two scales: the proxy is the target, scaled down.

Efficiency is computed for the target, recall is measured on the proxy, and both have to speak of the same model. Every
mixer states its published sizes as functions of the model around it, and which of them shrink and how
(`LayerPart.scaled`). A block's own options are at the target's scale and shrink alike. From these the rule derives the
proxy's sizes:

- Matrix states keep their proportions. `Proxy.state` says how many elements a DeltaNet layer's state has; every other
  mixer's has as many times more or fewer as in the target, within a factor of 1.25, and never fewer than the model is
  wide. Projections keep their width relative to the model's; heads and head sizes come as near to that as whole heads
  and sizes that are multiples of 4, or 1 or 2, allow.
- Attention has `Proxy.heads` for the target's heads; key-value heads and heads of other blocks in proportion.
- Vector states are in proportion to the width of the model.
- Lengths (windows) are to the proxy's sequences what they are to the target's context, rounded up, and at least 2.
- Channel mixers keep their ratio, times `Proxy.mlp_scale`. Of experts a token uses at most two, of at most 16, so
  that a short run trains each; of these as near as may be to the target's share. Their hidden units make up for what is
  fewer of them, so that a token uses as many as in proportion.
- Filters of long convolutions are as published, but no longer than a quarter of the proxy's sequences.
- All else is as published: convolutions, gates, norms, initial values. Only the output projections start at zero, and
  gates start open.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

import torch

from search_space import limits
from search_space.checks import count, not_negative, positive, positive_number
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.model import Sizes
from search_space.parts.base import PartCost, Scaling
from search_space.parts.build import (
    build_channel_mixer,
    build_mixer,
    channel_mixer_class,
    check_mixer_options,
    mixer_class,
    options_of,
)
from search_space.parts.part import BRANCHES, Part

REFERENCE = Part("deltanet")
"""The mixer whose state `Proxy.state` gives."""
TOLERANCE = 1.25
"""Factor by which a state may be off its proportion to the target's."""
FOLLOWED = ("width", "heads", "kv_heads", "mlp_width", "context", "options")
"""Keys of the target that a proxy follows from; the others matter for its price alone."""
SIZE_STEP = 4
"""Head sizes of matrix states are multiples of it, or where that is far too much, 1 or 2."""
SHORTEST = 2
"""Tokens of the shortest window."""
EXPERTS, EXPERTS_USED = 16, 2
"""Most experts, and most of them that a token uses."""
FILTER_SHARE = 4
"""A filter sees one token in so many of a sequence at most: in proportion it would see none but its own."""


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """The numbers of the rule by which the proxy follows from the target (search_space/scale.py).

    Args:
        width: model width D.
        heads: query heads of the attention layers; those of other blocks and key-value heads follow in proportion.
        state: elements of the matrix state of a DeltaNet layer; those of other mixers follow in proportion.
        mlp_scale: ratio of a channel mixer's hidden width to D, in those of the target.
        shift_width: tokens seen by a short causal convolution that is added to the input of mixers (Canon layers,
            2512.17351); 0 leaves it out. It lets short training runs find induction, which attention would else have
            to learn from positions alone.
        shift_from: index of the first layer that has it. Without it in layer 0, a mixer there retrieves only by what
            it composes itself, as in the target.
        embedding_skip: weight of the token embedding in the input of every mixer, beside what the layers below made of
            it, both scaled to one length; 0 leaves it out. In a short run the layers below change while a late layer
            learns; with it a late layer learns as soon as an early one.
        residual: every layer adds its output times residual / layers (2505.01618), so that models of any depth train
            well at one learning rate; models of so many layers and fewer add it as it is.
        embedding_std: standard deviation of the (tied) embeddings; that of the logits does not depend on it.
        logit_std: standard deviation that the logits start with, about.
        options: exceptions from the rule, {mixer: {option: value}} at the proxy's scale, for blocks that do not state
            the option themselves.

    Raises:
        InputError: a value cannot be used; the key begins with "proxy".
    """

    width: int = 32
    heads: int = 2
    state: int = 256
    mlp_scale: float = 0.3636
    shift_width: int = 3
    shift_from: int = 1
    embedding_skip: float = 1.0
    residual: float = 6.0
    embedding_std: float = 0.3
    logit_std: float = 1.0
    options: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self):
        for key in ("width", "heads"):
            positive(f"proxy.{key}", getattr(self, key), limits.PROXY_WIDTH)
        positive("proxy.state", self.state, limits.PROXY_WIDTH**2)
        for key in ("mlp_scale", "residual", "embedding_std", "logit_std"):
            positive_number(f"proxy.{key}", getattr(self, key))
        for key in ("shift_width", "shift_from"):
            count(f"proxy.{key}", getattr(self, key), limits.PROXY_WIDTH)
        not_negative("proxy.embedding_skip", self.embedding_skip)
        if self.width % self.heads:
            raise InputError("proxy.heads", self.heads, f"a divisor of width={self.width}")
        check_mixer_options(self.options, "proxy.options")


@dataclass(frozen=True)
class Scaled:
    """One mixer at both scales, for tables and tests.

    Args:
        target: its cost in the target.
        proxy: its cost in the proxy.
        part: the mixer with the proxy's sizes.
        floor: whether its state in the proxy is larger than in proportion, as it would have fewer elements than the
            model is wide.
    """

    target: PartCost
    proxy: PartCost
    part: Part
    floor: bool


@dataclass(frozen=True)
class Scale:
    """The rule for one target, one proxy and one length of sequences.

    Args:
        target: the model that efficiency is stated for.
        proxy: the numbers of the rule.
        length: tokens of the sequences that the proxy is trained on.
    """

    target: Target
    proxy: Proxy
    length: int

    @cached_property
    def state_factor(self) -> float:
        """Elements of a matrix state in the proxy, for each in the target."""
        return self.proxy.state / self._built(REFERENCE).cost().state_elements

    @cached_property
    def _factors(self) -> dict[Scaling, float]:
        target, proxy = self.target, self.proxy
        width = proxy.width / target.width
        # Widths of projections are heads x size, so these two factors multiply to that of the width.
        heads = width**2 / self.state_factor
        return {
            Scaling.HEADS: heads,
            Scaling.HEAD_SIZE: width / heads,
            Scaling.ATTENTION_HEADS: proxy.heads / target.heads,
            Scaling.ATTENTION_HEAD_SIZE: (proxy.width / proxy.heads) / (target.width / target.heads),
            Scaling.WIDTH: width,
            Scaling.MLP_RATIO: proxy.mlp_scale,
            Scaling.LENGTH: self.length / target.context,
        }

    @cached_property
    def _blocks(self) -> dict[Block, Block]:
        """Blocks of the target -> blocks of the proxy, as far as they are known."""
        return {}

    def __reduce__(self):
        return Scale, (self.target, self.proxy, self.length)

    def sizes(self, vocabulary: int) -> Sizes:
        """Sizes of the proxy model."""
        proxy, target = self.proxy, self.target
        hidden = round(proxy.mlp_scale * target.mlp_width / target.width * proxy.width)
        if hidden > limits.SIZE:
            raise InputError("proxy.mlp_scale", proxy.mlp_scale, f"one that gives at most {limits.SIZE} hidden units")
        return Sizes(
            width=proxy.width,
            heads=proxy.heads,
            kv_heads=_divisor(proxy.heads, (target.kv_heads or target.heads) * proxy.heads / target.heads),
            mlp_width=max(1, hidden),
            vocabulary=vocabulary,
            tied_embeddings=True,
            residual=proxy.residual,
            shift_width=proxy.shift_width,
            shift_from=proxy.shift_from,
            embedding_skip=proxy.embedding_skip,
            embedding_std=proxy.embedding_std,
            logit_std=proxy.logit_std,
            zero_outputs=True,
            open_gates=True,
        )

    def layout(self, layout: Layout) -> Layout:
        """The layout with the proxy's options, at its own depth."""
        return Layout(tuple(self.block(block) for block in layout.layers))

    def scaled(self, part: Part) -> Scaled:
        """A mixer at both scales."""
        target, mixer = self._built(part).cost(), self.part(part)
        proxy = self._cost(mixer)
        return Scaled(target, proxy, mixer, 0 < target.state_elements * self.state_factor < self.proxy.width)

    def check(self, blocks: Mapping[str, Block]) -> None:
        """Raises InputError for two blocks that are the same at the target, or become so at the proxy.

        Args:
            blocks: name -> block, of a search space.
        """
        for where, form in (("target", self._full), ("proxy", self.block)):
            names: dict[Any, str] = {}
            for name, block in blocks.items():
                first = names.setdefault(form(block), name)
                if first != name:
                    expected = f"blocks that differ at the {where}: {first} and {name} are the same there"
                    raise InputError("space.choices", f"{first}, {name}", expected)

    def block(self, block: Block) -> Block:
        """The block with the proxy's options."""
        if block not in self._blocks:
            mixer = self.part(block.mixer) if block.mixer else block.mixer
            self._blocks[block] = Block(mixer, self._channel_mixer(block.mlp))
        return self._blocks[block]

    def _channel_mixer(self, part: Part) -> Part:
        if not part:
            return part
        with torch.device("meta"):
            built = build_channel_mixer(part, self.target.sizes.dims(), part.kind)
        names = {how: name for name, how in built.scaled.items()}
        factors, counts = dict(self._factors), dict[Scaling, int]()
        if Scaling.EXPERTS in names:
            experts, used = (getattr(built, names[how]) for how in (Scaling.EXPERTS, Scaling.EXPERTS_USED))
            counts[Scaling.EXPERTS_USED] = few = min(used, EXPERTS_USED)
            counts[Scaling.EXPERTS] = max(few, min(EXPERTS, round(experts * few / used)))
            factors[Scaling.EXPERT_RATIO] = factors[Scaling.MLP_RATIO] * used / few
        options: dict[str, float] = {}
        for name, how in built.scaled.items():
            if getattr(built, name) is None:
                continue
            options[name] = counts.get(how) or getattr(built, name) * factors[how]
            if how in (Scaling.MLP_RATIO, Scaling.EXPERT_RATIO):  # of whole hidden units: equal widths, equal options
                options[name] = max(1, round(options[name] * self.proxy.width)) / self.proxy.width
        return Part(part.kind, {**dict(part.options), **options})

    def part(self, part: Part) -> Part:
        """The mixer with the proxy's options."""
        own = dict(part.options)
        branches = own.get(BRANCHES) or options_of(mixer_class(part)).get(BRANCHES)
        if branches:
            own[BRANCHES] = [self.part(branch) for branch in branches]
        built = self._built(part)
        groups: dict[bool, dict[str, Scaling]] = {True: {}, False: {}}
        for name, how in built.scaled.items():
            groups[how in (Scaling.HEADS, Scaling.HEAD_SIZE)][name] = how
        sizes = {name: self._size(name, how, built) for name, how in groups[False].items()}
        if "kv_heads" in sizes:
            sizes["kv_heads"] = _divisor(sizes["heads"], built.kv_heads * sizes["heads"] / built.heads)
        exceptions = {k: v for k, v in self.proxy.options.get(part.kind, {}).items() if k not in own}
        rest = {**dict(self.target.options.get(part.kind, {})), **own, **sizes}
        if groups[True]:
            rest |= self._matrix_state(Part(part.kind, rest), built, groups[True])
        return Part(part.kind, {**rest, **exceptions})

    def _size(self, name: str, how: Scaling, built: Any) -> int:
        if how is Scaling.FILTER:
            return min(getattr(built, name), max(SHORTEST, math.ceil(self.length / FILTER_SHARE)))
        exact = getattr(built, name) * self._factors[how]
        if how is Scaling.LENGTH:
            return max(SHORTEST, math.ceil(exact - 1e-9))
        if how is Scaling.ATTENTION_HEAD_SIZE:
            exact = max(2, 2 * round(exact / 2))  # even, as positions turn pairs
        if exact > limits.SIZE:
            raise InputError(name, f"{exact:g}", f"at most {limits.SIZE} in the proxy")
        return max(1, round(exact))

    def _matrix_state(self, part: Part, built: Any, group: Mapping[str, Scaling]) -> dict[str, int]:
        """Heads and head sizes whose state is in proportion; of these, the ones nearest to the published shape."""
        exact = {name: getattr(built, name) * self._factors[how] for name, how in group.items()}
        proportional = _remembered(built.cost()) * self.state_factor
        wanted = max(self.proxy.width, proportional)

        def distance(sizes: dict[str, int]) -> tuple[bool, float]:
            try:
                elements = _remembered(self._cost(Part(part.kind, {**dict(part.options), **sizes})))
            except InputError:  # heads that the part's groups do not divide
                return True, math.inf
            off = abs(math.log(elements / wanted))
            if elements < self.proxy.width:
                off = math.inf
            return off > math.log(TOLERANCE), off + sum(abs(math.log(sizes[n] / exact[n])) for n in group)

        *first, last = sorted(group, key=lambda name: group[name] is Scaling.HEAD_SIZE)
        choices: list[dict[str, int]] = []
        for chosen in product(*(_near(exact[n]) if group[n] is Scaling.HEAD_SIZE else _whole(exact[n]) for n in first)):
            # What whole numbers make too many or too few, the last size makes up for.
            sizes = dict(zip(first, chosen, strict=True))
            rest = math.prod(exact[name] / size for name, size in sizes.items()) * wanted / proportional
            step = _near if group[last] is Scaling.HEAD_SIZE else _whole
            choices += [{**sizes, last: size} for size in step(exact[last] * rest)]
        found = min(choices, key=distance)
        if distance(found)[0]:
            expected = f"a number that gives {part.kind} a state of about {wanted:.0f} elements in whole heads"
            raise InputError("proxy.state", self.proxy.state, expected)
        return found

    def _built(self, part: Part) -> Any:
        with torch.device("meta"):
            return build_mixer(self.target.part(part), self.target.sizes.dims(), part.kind)

    def _cost(self, part: Part) -> PartCost:
        with torch.device("meta"):
            return build_mixer(part, self.sizes(1).dims(), part.kind).cost()

    def _full(self, block: Block) -> Any:
        """All options of a block in the target, those that it does not state included."""
        full: list[Any] = []
        if block.mixer:
            part, built = self.target.part(block.mixer), self._built(block.mixer)
            options = {**options_of(mixer_class(part)), **dict(part.options)}
            full.append(str(Part(part.kind, options | {name: getattr(built, name) for name in built.scaled})))
        if block.mlp:
            kind = channel_mixer_class(block.mlp)
            with torch.device("meta"):
                mlp = build_channel_mixer(block.mlp, self.target.sizes.dims(), block.mlp.kind)
            options = {**options_of(kind), **dict(block.mlp.options)}
            full.append(str(Part(block.mlp.kind, options | {name: getattr(mlp, name) for name in mlp.scaled})))
        return (bool(block.mixer), *full)


def _remembered(cost: PartCost) -> int:
    """Elements of a matrix state, or of one of those of which there are more with every doubling of the tokens."""
    return cost.state_elements or sum(cache.elements for cache in cost.caches if cache.levels)


def _near(exact: float) -> list[int]:
    """Head sizes around a number: two below and two above."""
    below = math.floor(exact / SIZE_STEP)
    small = {1, 2} if exact <= SIZE_STEP / 2 else set()
    return sorted(small | {SIZE_STEP * max(1, below + more) for more in (-1, 0, 1, 2)})


def _whole(exact: float) -> range:
    """Whole numbers around one, more below than above: fewer heads can each be larger."""
    return range(max(1, math.floor(exact) - 8), math.floor(exact) + 3)


def _divisor(heads: int, wanted: float) -> int:
    """The divisor of `heads` that is nearest to a number."""
    small = [d for d in range(1, math.isqrt(heads) + 1) if heads % d == 0]
    return min(sorted({*small, *(heads // d for d in small)}), key=lambda d: abs(math.log(d / wanted)))
