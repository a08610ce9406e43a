"""A phone book with changes: the latest of a key's values counts."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from search_space.checks import share
from workers.suite.sampling import below, by_level, check_levels, check_positive, distinct, in_turn, levels
from workers.suite.task import IGNORED, Batch, Task


@dataclass(frozen=True, kw_only=True)
class Overwrites(Task):
    """K keys with values, some of them bound anew, all in random order; then every key is asked for once.

    Associative recall as a sweep over capacity (Zoology's MQAR, 2312.04927; the phone book of 2406.07887), in which a
    state has to erase as well as to store. The first binding of a key that is bound again never is the answer. A
    question is followed by its answer, as a statement is, and by no other question for the same key. Labelled are the
    keys of questions, with their values.

    Args:
        keys: size of the key vocabulary.
        values: size of the value vocabulary.
        rebound: share of the K keys that are bound a second time, in [0, 1).
        pairs: the K that sequences are drawn with; training starts with the smallest.
        questions: most questions of a sequence.
    """

    keys: int = 32
    values: int = 32
    rebound: float = 0.34
    pairs: tuple[int, ...] = (4, 8, 16)
    questions: int = 32

    def __post_init__(self):
        check_positive(keys=self.keys, values=self.values, questions=self.questions)
        share("rebound", self.rebound)
        fit = (k for k in range(self.keys, 0, -1) if 2 * (k + self._again(k) + 1) <= self.length)
        check_levels("pairs", self.pairs, next(fit, 0), f"{self.keys} keys, a question fits in length={self.length}")

    def _again(self, k: int) -> int:
        return int(self.rebound * k)

    @property
    def vocabulary(self) -> int:  # noqa: D102
        return self.keys + self.values + 1

    @property
    def groups(self) -> tuple[str, ...]:  # noqa: D102
        return tuple(f"pairs_{k}" for k in sorted(self.pairs))

    def train_batch(self, count: int, progress: float, generator: Generator) -> Batch:  # noqa: D102
        return self._mixed(levels(self.pairs, count, progress, generator), torch.zeros(count).long(), generator)

    def test_batch(self, count: int, generator: Generator) -> Batch:  # noqa: D102
        return self._mixed(*in_turn(sorted(self.pairs), count), generator)

    def _mixed(self, pairs: Tensor, group: Tensor, generator: Generator) -> Batch:
        def draw(k: int, rows: int) -> tuple[Tensor, Tensor]:
            return self._sequences(k, rows, generator)

        tokens, labels = by_level(pairs, self.length, self.vocabulary - 1, draw)
        return Batch(tokens, labels, group[:, None].expand_as(tokens))

    def _sequences(self, k: int, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
        names = distinct(count, k, self.keys, generator)
        bound = torch.arange(k + self._again(k)) % k  # names are in random order, so the first ones are any
        stated = bound[torch.rand(count, len(bound), generator=generator).argsort(1)]  # [N, statements]
        value = self.keys + below(self.values, stated.shape, generator)
        # The latest statement of each name, [N, K].
        latest = (
            torch.zeros(count, k).long().scatter_reduce(1, stated, torch.arange(len(bound)).expand_as(stated), "amax")
        )
        room = min(k, self.questions, self.length // 2 - len(bound))
        asked = torch.rand(count, k, generator=generator).argsort(1)[:, :room]
        answer = value.gather(1, latest.gather(1, asked))
        pairs = torch.stack([names.gather(1, torch.cat([stated, asked], 1)), torch.cat([value, answer], 1)], 2)
        labels = torch.full_like(pairs, IGNORED)
        labels[:, len(bound) :, 0] = answer
        return pairs.flatten(1), labels.flatten(1)
