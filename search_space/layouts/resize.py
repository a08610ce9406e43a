"""The one rule by which a layout is taken to another depth.

It takes published layouts to the depth of the proxy, and every layout to the depth of the target:

1. A layout that repeats a pattern goes on repeating it, or is cut: its first layers recur with a period that fits at
   least twice into it, and at least twice into the new depth. (Once would put what closes the pattern last.)
2. Any other layout is stretched. Each kind of block keeps its share of the layers, rounded by largest remainder (the
   rarer kind first among equals), and at least one layer. Where there are fewer layers than kinds, the most frequent
   kinds stay. Each kind keeps its places by relative depth, (i + 1/2) / layers. When a kind gets fewer layers, its
   layers are split into as many runs of neighbours, and each run becomes one layer at its mean depth. When it gets
   more, each layer becomes one or more copies, spread evenly over its interval [i, i + 1] / layers. Layers are ordered
   by relative depth; at equal depth the one that came first in the original comes first.
3. A stretched layer that reads what a layer below keeps (`shared_attention`) never comes ahead of the first layer of
   the kind that it read before: the first layers of both kinds change places.

At the same depth nothing changes.

`target.resize` may ask for one of the two: "pattern" also repeats a layout without a pattern, as a whole, and cuts it;
"stretch" stretches those with a pattern too.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import cycle, islice

from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.layouts.reading import borrows, reads, side_by_side
from search_space.parts.build import mixer_class

RULES = ["auto", "pattern", "stretch"]


@lru_cache(maxsize=100_000)
def pattern(layout: Layout, layers: int, rule: str = "auto") -> tuple[Block, ...] | None:
    """The shortest pattern that the layout repeats and `layers` layers can hold; None where it is to be stretched."""
    depth = len(layout.layers)
    if rule == "stretch":
        return None
    for period in range(1, min(depth, layers) // 2 + 1):
        if layout.layers[period:] == layout.layers[:-period]:
            return layout.layers[:period]
    return layout.layers if rule == "pattern" else None


def resize_note(layout: Layout, layers: int, rule: str = "auto") -> str:
    """What `resize` does to the layout, in a few words, for the files that it is written to."""
    depth = len(layout.layers)
    repeated = pattern(layout, layers, rule)
    if depth == layers:
        return f"{layers} layers, as it was found"
    if repeated is None:
        return f"{layers} layers from {depth}: stretched, each kind keeps its share and its relative depth"
    cut = " and cut" if layers % len(repeated) else ""
    return f"{layers} layers from {depth}: a pattern of {len(repeated)} layer{'s' * (len(repeated) > 1)}, repeated{cut}"


def scaled_counts(layout: Layout, layers: int, rule: str = "auto") -> Counter[Block]:
    """How many layers of each kind the layout has at a depth of `layers`: the counts of `resize`, for less work."""
    if layers == len(layout.layers):
        return Counter(layout.layers)
    repeated = pattern(layout, layers, rule)
    if repeated is not None:
        return Counter(islice(cycle(repeated), layers))
    return Counter(_shares(Counter(layout.layers), layers))


def resize(layout: Layout, layers: int, rule: str = "auto") -> Layout:
    """The layout at a depth of `layers` layers (at least 1), by the rule above, or the half of it that `rule` names."""
    if layers == len(layout.layers):
        return layout
    repeated = pattern(layout, layers, rule)
    if repeated is not None:
        return Layout(tuple(islice(cycle(repeated), layers)))
    places = defaultdict(list)
    for place, block in enumerate(layout.layers):
        places[block].append(place)
    placed = [
        (depth, first, block)
        for block, count in _shares(Counter(layout.layers), layers).items()
        for depth, first in _spread(places[block], count)
    ]
    stretched = [block for _, _, block in sorted(placed, key=lambda layer: layer[:2])]
    return Layout(tuple(_readers_above(layout.layers, stretched)))


def _readers_above(original: Sequence[Block], blocks: list[Block]) -> list[Block]:
    """The stretched blocks, by step 3 of the rule."""
    order = {}  # kind that reads -> kind that it reads: the nearest below it that remembers in the same way
    for block in filter(reads, dict.fromkeys(original)):
        families = {mixer_class(part).family for part in side_by_side(block.mixer) if borrows(part)}
        beneath = reversed(original[: original.index(block)])
        order[block] = next((b for b in beneath if families & _kept(b)), None)
    swapped = True
    while swapped:
        swapped = False
        for reader, read in order.items():
            if read in blocks and reader in blocks and blocks.index(reader) < blocks.index(read):
                i, j = blocks.index(reader), blocks.index(read)
                blocks[i], blocks[j], swapped = blocks[j], blocks[i], True
    return blocks


def _kept(block: Block) -> set[str]:
    """Families of the mixers of a layer that keep something of their own."""
    parts = side_by_side(block.mixer) if block.mixer else []
    return {mixer_class(part).family for part in parts if not borrows(part)}


def keeps_shares(layout: Layout, layers: int) -> bool:
    """Whether each kind of block keeps about its share of the layers at another depth: over half of it, under twice."""
    before, after = Counter(layout.layers), scaled_counts(layout, layers)
    factors = (Fraction(after[kind] * len(layout.layers), before[kind] * layers) for kind in before)
    return all(Fraction(1, 2) < factor < 2 for factor in factors)


def _shares(counts: Mapping[Block, int], layers: int) -> dict[Block, int]:
    """Layers of each kind after stretching to `layers` in all (step 2 of the rule); independent of their order."""
    if layers == sum(counts.values()):
        return dict(counts)
    kinds = sorted(counts, key=lambda kind: (counts[kind], str(kind)))
    if layers <= len(kinds):
        return dict.fromkeys(kinds[-layers:], 1)
    seats, total = layers, sum(counts.values())
    scaled: dict[Block, int] = {}
    for kind in kinds:
        if counts[kind] * seats >= total:
            break
        scaled[kind] = 1
        seats, total = seats - 1, total - counts[kind]
    common = kinds[len(scaled) :]
    scaled |= {kind: counts[kind] * seats // total for kind in common}
    by_remainder = sorted(common, key=lambda kind: -(counts[kind] * seats % total))
    for kind in by_remainder[: layers - sum(scaled.values())]:
        scaled[kind] += 1
    return scaled


def _spread(places: list[int], count: int) -> list[tuple[Fraction, int]]:
    """Depth, in layers of the original, and origin of each of the `count` layers that stand for `places`."""
    runs = defaultdict(list)
    if count <= len(places):
        for rank, place in enumerate(places):
            runs[_share(rank, len(places), count)].append(place)
        return [(Fraction(2 * sum(run) + len(run), 2 * len(run)), run[0]) for run in runs.values()]
    for copy in range(count):
        runs[places[_share(copy, count, len(places))]].append(copy)
    return [
        (place + Fraction(2 * rank + 1, 2 * len(copies)), place)
        for place, copies in runs.items()
        for rank in range(len(copies))
    ]


def _share(rank: int, items: int, parts: int) -> int:
    """Which of `parts` even parts the item number `rank` of `items` falls into."""
    return (2 * rank + 1) * parts // (2 * items)
