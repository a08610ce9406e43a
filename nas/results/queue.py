"""Published layouts that a search tries: which, in what order, and those that it has not come to."""

from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest

from nas.config import Config
from nas.results.trials import Trial
from search_space.errors import InputError
from search_space.layouts.layout import Layout
from search_space.layouts.published import Origin, Published, published_layouts
from search_space.layouts.resize import keeps_shares, resize
from search_space.parts.build import mixer_class
from search_space.space.space import Space

Queued = tuple[Layout, Origin]
"""A layout at the depth of the search, and where it was published."""


def queued(config: Config, space: Space) -> list[Queued]:
    """Published layouts that are tried before anything is proposed, at the depth of the search, each once.

    Left out are those that the space does not hold, and those that are no longer themselves at this depth (one
    attention layer in 24 where there are but six). Those that are the same here go by the name of the first. They are
    tried one family of mixers after the other, and of a family those first that differ most in their share of full
    attention: a search has time for a few of them.
    """
    found: dict[Layout, Published] = {}
    depth = config.space.layers
    for each in published_layouts() if config.search.published else ():
        layout = resize(each.layout, depth)
        if keeps_shares(each.layout, depth) and space.values(layout) is not None and space.feasible(layout):
            found.setdefault(layout, each)
    families: dict[str, dict[float, list[Queued]]] = {}
    for layout, each in found.items():
        shares = families.setdefault(_family(each.layout), {})
        shares.setdefault(each.attention, []).append((layout, Origin(each.name, each.layout)))
    return _in_turn([_in_turn([shares[share] for share in _apart(sorted(shares))]) for shares in families.values()])


def untried(trials: Sequence[Trial], config: Config) -> list[Origin]:
    """Those of the queue that were never begun, in its order."""
    known = {trial.layout for trial in trials}
    try:
        space = Space(config.space, config.target)
    except InputError:  # at another target, no layout may keep the budgets
        return []
    return [origin for layout, origin in queued(config, space) if layout not in known]


def _family(layout: Layout) -> str:
    """Of the mixer that most layers have; of full attention only where all have it."""
    counts = Counter(mixer_class(block.mixer).family for block in layout.layers if block.mixer)
    others = [family for family, _ in counts.most_common() if family != "attention"]
    return others[0] if others else "attention"


def _in_turn(groups: Sequence[Sequence[Queued]]) -> list[Queued]:
    """The first of each group, then the second of each ..."""
    return [each for turn in zip_longest(*groups) for each in turn if each is not None]


def _apart(shares: list[float]) -> list[float]:
    """Ascending numbers, in an order whose beginnings are spread: first, last, then what is farthest from these."""
    chosen: list[float] = []
    while len(chosen) < len(shares):
        left = [share for share in shares if share not in chosen]
        chosen.append(max(left, key=lambda share: min((abs(share - c) for c in chosen), default=-share)))
    return chosen
