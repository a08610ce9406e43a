"""Layers that read keys and values of layers below: whether a layout has what they read."""

from collections.abc import Sequence
from functools import lru_cache

from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.parts.base import Dims
from search_space.parts.below import Forms, KeysForm, unmet
from search_space.parts.build import build_mixer, mixer_class, options_of
from search_space.parts.part import BRANCHES, Part
from search_space.parts.shapes import shapes_only

KNOWN = 50_000
"""Parts whose forms are kept."""


@lru_cache(maxsize=KNOWN)
def forms(part: Part, dims: Dims) -> Forms:
    """What a mixer offers to layers above it and reads of layers below, in a model of these sizes.

    Raises:
        InputError: the mixer cannot be built so.
    """
    if not part:
        return (), ()
    with shapes_only():
        mixer = build_mixer(part, dims, part.kind)
    return mixer.offers, mixer.reads


def check_reading(layout: Layout, dims: Dims) -> None:
    """Refuses layouts with a layer that reads what none below it keeps.

    Args:
        layout: with options at the scale of `dims`.
        dims: sizes of the model.

    Raises:
        InputError: there is such a layer, which is named.
    """
    if any(reads(block) for block in set(layout.layers)):
        missing = unmet(forms(block.mixer, dims) for block in layout.layers)
        if missing:
            raise nothing_below(layout.layers, *missing[0])


def nothing_below(blocks: Sequence[Block], place: int, form: KeysForm) -> InputError:
    """The error for a layer that has nothing to read below it."""
    return InputError(f"layers[{place}]", blocks[place], f"a layer of {form.of} below it, with {form}")


def reads(block: Block) -> bool:
    """Whether a layer reads of layers below; its sizes need not be known for that."""
    return bool(block.mixer) and any(map(borrows, side_by_side(block.mixer)))


def borrows(part: Part) -> bool:
    """Whether a mixer reads keys and values of layers below."""
    return mixer_class(part).reads != ()


def side_by_side(part: Part) -> list[Part]:
    """The mixers that stand side by side in a layer: all branches, or the mixer alone."""
    branches = dict(part.options).get(BRANCHES) or options_of(mixer_class(part)).get(BRANCHES)
    return [each for branch in branches for each in side_by_side(branch)] if branches else [part]
