"""In-context recall: key-value pairs, then some of them again."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from workers.suite.sampling import (
    check_levels,
    check_positive,
    distinct,
    in_turn,
    levels,
    padded,
    statements_then_repeats,
)
from workers.suite.task import IGNORED, Batch, Task


@dataclass(frozen=True, kw_only=True)
class Recall(Task):
    """K different keys, each with a value; then keys at random, each followed by its value again.

    MAD's in-context recall (2403.17844), with new values in every sequence. Labelled are the repeated keys, with their
    values. A sequence asks many times, since each answer stands in it as the next token.

    Args:
        keys: size of the key vocabulary.
        values: size of the value vocabulary.
        pairs: the K that sequences are drawn with; training starts with the smallest.
    """

    keys: int = 32
    values: int = 32
    pairs: tuple[int, ...] = (4, 8, 16, 24)

    def __post_init__(self):
        check_positive(keys=self.keys, values=self.values)
        room = min(self.keys, self.length // 2 - 1)
        check_levels("pairs", self.pairs, room, f"{self.keys} keys, a repeat has to fit in length={self.length}")

    @property
    def vocabulary(self) -> int:  # noqa: D102
        return self.keys + self.values + 1

    @property
    def groups(self) -> tuple[str, ...]:  # noqa: D102
        return tuple(f"pairs_{k}" for k in sorted(self.pairs))

    def train_batch(self, count: int, progress: float, generator: Generator) -> Batch:  # noqa: D102
        return self._batch(levels(self.pairs, count, progress, generator), torch.zeros(count).long(), generator)

    def test_batch(self, count: int, generator: Generator) -> Batch:  # noqa: D102
        return self._batch(*in_turn(sorted(self.pairs), count), generator)

    def _batch(self, pairs: Tensor, group: Tensor, generator: Generator) -> Batch:
        count = len(pairs)
        keys = distinct(count, int(pairs.max()), self.keys, generator)
        values = self.keys + torch.randint(self.values, keys.shape, generator=generator)
        index, repeat = statements_then_repeats(pairs, self.length // 2, generator)
        tokens = torch.stack([keys.gather(1, index), values.gather(1, index)], 2).flatten(1)
        answer = torch.where(repeat, tokens[:, 1::2], IGNORED)
        labels = torch.stack([answer, torch.full_like(answer, IGNORED)], 2).flatten(1)
        return padded(tokens, labels, self.length, self.vocabulary - 1, group)
