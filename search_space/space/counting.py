"""Layouts under limits on counts: how many there are, one of them at random, the cheapest of them.

One table serves all three. Group by group, what remains possible depends only on how many layers each limit
has counted so far: at most (layers + 1) ^ limits rows a group, and far fewer where limits are low.
"""

import random
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate

from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.space.constraints import CountRule

MOST_ROWS = 200_000
"""Size of the table, a second or two of work, beyond which the limits are refused."""

Counts = tuple[int, ...]


class Counting:
    """Ways to choose one block for each of several groups of layers, under rules.

    Args:
        groups: for each group, how many layers it has and the blocks that they may all be.
        rules: limits on the number of layers.

    Attributes:
        size: number of ways.

    Raises:
        InputError: there are too many limits to keep track of.
    """

    def __init__(self, groups: Sequence[tuple[int, Sequence[Block]]], rules: Sequence[CountRule]):
        self._rules = rules
        layers = sum(size for size, _ in groups)
        # Once a count has reached its least, and there is no limit above, counting on makes no difference.
        self._ceilings = [rule.most if rule.most < layers else rule.least for rule in rules]
        self._sizes = [size for size, _ in groups]
        self._moves: list[dict[Counts, list[Block]]] = []
        for size, blocks in groups:
            moves: dict[Counts, list[Block]] = {}
            for block in blocks:
                moves.setdefault(tuple(size * (block in rule.blocks) for rule in rules), []).append(block)
            self._moves.append(moves)

        self._start: Counts = (0,) * len(rules)
        reached = [{self._start}]
        for index in range(len(groups)):
            reached.append({after for counts in reached[-1] for _, after in self._options(index, counts)})
            if sum(map(len, reached)) > MOST_ROWS:
                limited = ", ".join(rule.key for rule in rules)
                raise InputError("space.constraints", limited, f"fewer or lower limits for {layers} layers")
        self._ways: list[dict[Counts, int]] = [{} for _ in groups]
        self._ways.append({counts: int(self._enough(counts)) for counts in reached[-1]})
        for index in reversed(range(len(groups))):
            self._ways[index] = {counts: sum(self._weights(index, counts)) for counts in reached[index]}
        self.size = self._ways[0][self._start]
        self._steps: dict[tuple[int, Counts], tuple[list[int], list[tuple[list[Block], Counts]]]] = {}

    def _enough(self, counts: Counts) -> bool:
        return all(count >= rule.least for count, rule in zip(counts, self._rules, strict=True))

    def _options(self, index: int, counts: Counts) -> list[tuple[list[Block], Counts]]:
        """Blocks that group `index` may be after `counts`, with the counts after them."""
        options = []
        for move, blocks in self._moves[index].items():
            after = [count + more for count, more in zip(counts, move, strict=True)]
            if all(count <= rule.most for count, rule in zip(after, self._rules, strict=True)):
                options.append((blocks, tuple(map(min, after, self._ceilings))))
        return options

    def _weights(self, index: int, counts: Counts) -> list[int]:
        """Ways to go on with each of the options."""
        later = self._ways[index + 1]
        return [len(blocks) * later[after] for blocks, after in self._options(index, counts)]

    def sample(self, rng: random.Random) -> list[Block]:
        """A block for each group, all ways equally likely. There must be one."""
        chosen, counts = [], self._start
        for index in range(len(self._sizes)):
            if (index, counts) not in self._steps:
                ways = list(accumulate(self._weights(index, counts)))
                self._steps[index, counts] = ways, self._options(index, counts)
            ways, options = self._steps[index, counts]
            blocks, counts = options[bisect_right(ways, rng.randrange(ways[-1]))]
            chosen.append(rng.choice(blocks))
        return chosen

    def cheapest(self, price: Mapping[Block, float]) -> list[Block]:
        """A block for each group, for the lowest sum of prices over all layers. There must be a way."""
        best: dict[Counts, tuple[float, list[Block]]] = {c: (0.0, []) for c, n in self._ways[-1].items() if n}
        for index in reversed(range(len(self._sizes))):
            later, best = best, {}
            for counts, ways in self._ways[index].items():
                if ways:
                    best[counts] = min(
                        (
                            (self._sizes[index] * price[block] + later[after][0], [block, *later[after][1]])
                            for blocks, after in self._options(index, counts)
                            if after in later
                            for block in [min(blocks, key=price.__getitem__)]
                        ),
                        key=lambda way: way[0],
                    )
        return best[self._start][1]
