"""Chains of variables, each set to the one before it: the value may be several hops away."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from workers.suite.sampling import check_levels, check_positive, distinct, in_turn, levels
from workers.suite.task import IGNORED, Batch, Task


@dataclass(frozen=True, kw_only=True)
class VariableTracking(Task):
    """C chains: a variable is set to a value, the next variable to that one, and so on; then all are asked for.

    RULER's variable tracking (2404.06654, section 3.2) in token form, with questions instead of a list. The statements
    of the chains are mixed, each after the one that it refers to. The questions follow in random order and without
    answers: an answer would save hops for later questions. All chains have the same length, so that no value is more
    likely than another.

    Args:
        variables: size of the vocabulary of variables.
        values: size of the value vocabulary; the chains of a sequence have different values.
        chains: the C that sequences are drawn with; training starts with the smallest.
        hops: variables in a chain; the last is this many hops away from its value.
    """

    variables: int = 16
    values: int = 16
    chains: tuple[int, ...] = (1, 2, 4)
    hops: int = 3

    def __post_init__(self):
        check_positive(variables=self.variables, values=self.values, hops=self.hops)
        room = min(self.variables // self.hops, self.values, (self.length - 1) // (3 * self.hops))
        check_levels("chains", self.chains, room, f"{self.hops} variables each, and all fit in length={self.length}")

    @property
    def vocabulary(self) -> int:  # noqa: D102
        return self.variables + self.values + 1

    @property
    def groups(self) -> tuple[str, ...]:  # noqa: D102
        return tuple(f"hops_{h}" for h in range(1, self.hops + 1))

    @property
    def lookup(self) -> int:  # noqa: D102
        return 1

    def train_batch(self, count: int, progress: float, generator: Generator) -> Batch:  # noqa: D102
        return self._mixed(levels(self.chains, count, progress, generator), generator)

    def test_batch(self, count: int, generator: Generator) -> Batch:  # noqa: D102
        return self._mixed(in_turn(sorted(self.chains), count)[0], generator)

    def _mixed(self, chains: Tensor, generator: Generator) -> Batch:
        """Rows with different C side by side."""
        shape = (len(chains), self.length)
        whole = torch.full(shape, self.vocabulary - 1), torch.full(shape, IGNORED), torch.zeros(shape).long()
        for c in sorted(set(chains.tolist())):
            rows = chains == c
            for held, part in zip(whole, self._sequences(c, int(rows.sum()), generator), strict=True):
                held[rows, : part.shape[1]] = part
        return Batch(*whole)

    def _sequences(self, chains: int, count: int, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, labels and groups of `count` sequences with C chains, without the filler behind them."""
        size = chains * self.hops
        names = distinct(count, size, self.variables, generator).view(count, chains, self.hops)
        value = self.variables + distinct(count, chains, self.values, generator)
        source = torch.cat([value[..., None], names[..., :-1]], 2).flatten(1)
        # Sorted places keep the order within each chain and mix the chains.
        place = torch.rand(count, chains, self.hops, generator=generator).sort(2).values.flatten(1)
        stated = place.argsort(1)
        names = names.flatten(1)
        statements = torch.stack([names.gather(1, stated), source.gather(1, stated)], 2).flatten(1)
        asked = torch.rand(count, size, generator=generator).argsort(1)
        end = torch.full((count, 1), self.vocabulary - 1)
        before = (count, 2 * size + 1)
        tokens = torch.cat([statements, end, names.gather(1, asked)], 1)
        labels = torch.cat([torch.full(before, IGNORED), value.gather(1, asked // self.hops)], 1)
        return tokens, labels, torch.cat([torch.zeros(before).long(), asked % self.hops], 1)
