"""What a statement says about the models behind it: their width, their context, and the depth of their proxies.

The rule of two scales (search_space/scale.py) is applied to these models, not to the target of a preset.
"""

import math
import re
from dataclasses import dataclass
from functools import cached_property

from search_space import limits
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.layout import Layout
from search_space.layouts.resize import resize

WIDTHS = {125e6: 768, 350e6: 1024, 760e6: 1536, 1.3e9: 2048, 2.7e9: 2560, 6.7e9: 4096}
"""Parameters -> width of GPT-3's models (2005.14165, table 2.1). A model has the width of the one whose parameters are
nearest to its own as a ratio; a size that is not known counts as 1.3B."""
HEAD_SIZE = 64
MLP_RATIO = 2.75
"""Of the SwiGLU layers of 2507.06457, at both of its sizes."""
CONTEXTS = {"2405.21060": 2048, "2406.06484": 2048, "2506.05233": 2048, "2609.36259": 2048}
"""Source -> tokens that its models were trained on, for statements without a context: a loss, or an average over tasks.
All other sources are taken to have trained on `CONTEXT`."""
CONTEXT = 4096
SHORT, DEEP = 12, 24
"""Depths of proxies."""
OWN = range(11, 17)
"""Depths that proxies keep."""
AMOUNT = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([KMB])")
FACTORS = {"K": 1024.0, "M": 1e6, "B": 1e9}


def parse_context(text: str) -> int | None:
    """Tokens: 2048 of "2K" and of "2048"; None of an empty text.

    Raises:
        InputError: it is no length.
    """
    if not text:
        return None
    found = AMOUNT.fullmatch(text)
    tokens = (
        float(found[1]) * FACTORS[found[2]] if found and found[2] == "K" else float(text) if text.isdecimal() else 0
    )
    if not 1 <= tokens <= limits.TOKENS:
        raise InputError("context", text, "tokens, such as 2K or 2048, or nothing")
    return int(tokens)


def parameters_of(size: str) -> float | None:
    """Parameters: 1.3e9 of "1.3B"; the first of several ("1.7B -> 2B conversion"); None where there are none."""
    found = AMOUNT.search(size)
    return float(found[1]) * FACTORS[found[2]] if found and found[2] != "K" else None


@dataclass(frozen=True)
class Model:
    """The model of a layout as published.

    Args:
        layers: depth.
        width: model width.
        context: tokens of the evaluation.
    """

    layers: int
    width: int
    context: int

    @cached_property
    def target(self) -> Target:
        """The model as a target; how it is served (8 sequences at once, on an H100) is that of `Target()`."""
        return Target(
            layers=self.layers,
            width=self.width,
            heads=self.width // HEAD_SIZE,
            mlp_width=int(MLP_RATIO * self.width),
            context=self.context,
        )


def model_of(source: str, size: str, context: str, layers: int) -> Model:
    """The model of one side of a statement.

    Args:
        source: as in the statement.
        size: as in the statement.
        context: as in the statement.
        layers: published depth.
    """
    parameters = parameters_of(size) or 1.3e9
    width = WIDTHS[min(WIDTHS, key=lambda known: abs(math.log(known / parameters)))]
    trained_on = next((tokens for number, tokens in CONTEXTS.items() if number in source), CONTEXT)
    return Model(layers, width, parse_context(context) or trained_on)


def at_run_depth(layout: Layout) -> Layout:
    """The layout at the depth that its proxy is trained at.

    - Published with 11 to 16 layers: its own depth.
    - All layers alike: 12 layers.
    - A pattern that 12 layers hold a whole number of times, at least twice, so that every kind of layer keeps its
      share and its places: 12 layers.
    - All others need 24 layers to keep the number of their attention layers. A deeper layout with one attention layer
      keeps one.
    """
    depth, blocks = len(layout.layers), layout.layers
    if depth in OWN:
        return layout
    for period in range(1, SHORT // 2 + 1):
        whole = SHORT % period == 0 and depth % period == 0 and depth > period
        if whole and blocks[period:] == blocks[:-period]:
            return resize(layout, SHORT)
    return resize(layout, DEEP)
