"""Several keys asked for at once: their values follow when all have been named."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from workers.suite.sampling import below, by_level, check_levels, check_positive, distinct, in_turn, levels
from workers.suite.task import IGNORED, Batch, Task


@dataclass(frozen=True, kw_only=True)
class MultiQuery(Task):
    """K pairs of key and value; then questions, each of q different keys and q marks for their values, in order.

    RULER's multi-query needle (2404.06654) in token form. A mark says nothing about its key: the model has to find
    which key it stands for and what that key's value is, so that a question takes several bindings, two steps each.
    Labelled are the marks. The values of the answers are not shown.

    Args:
        keys: size of the key vocabulary.
        values: size of the value vocabulary.
        pairs: K.
        asked: the q that sequences are drawn with; training starts with the smallest.
    """

    keys: int = 32
    values: int = 32
    pairs: int = 8
    asked: tuple[int, ...] = (1, 2, 4)

    def __post_init__(self):
        check_positive(keys=self.keys, values=self.values)
        check_levels("pairs", [self.pairs], min(self.keys, self.length // 2 - 1), "different keys, and a question")
        room = min(self.pairs, (self.length - 2 * self.pairs) // 2)
        check_levels("asked", self.asked, room, f"a question has to fit in length={self.length}")

    @property
    def vocabulary(self) -> int:  # noqa: D102
        return self.keys + self.values + 2

    @property
    def groups(self) -> tuple[str, ...]:  # noqa: D102
        return tuple(f"asked_{q}" for q in sorted(self.asked))

    def train_batch(self, count: int, progress: float, generator: Generator) -> Batch:  # noqa: D102
        return self._mixed(levels(self.asked, count, progress, generator), torch.zeros(count).long(), generator)

    def test_batch(self, count: int, generator: Generator) -> Batch:  # noqa: D102
        return self._mixed(*in_turn(sorted(self.asked), count), generator)

    def _mixed(self, asked: Tensor, group: Tensor, generator: Generator) -> Batch:
        def draw(q: int, rows: int) -> tuple[Tensor, Tensor]:
            return self._sequences(q, rows, generator)

        tokens, labels = by_level(asked, self.length, self.vocabulary - 1, draw)
        return Batch(tokens, labels, group[:, None].expand_as(tokens))

    def _sequences(self, q: int, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
        mark = self.vocabulary - 2
        name = distinct(count, self.pairs, self.keys, generator)
        value = self.keys + below(self.values, name.shape, generator)
        questions = (self.length - 2 * self.pairs) // (2 * q)
        order = torch.rand(count, questions, self.pairs, generator=generator).argsort(2)[..., :q].flatten(1)
        named, answer = (x.gather(1, order).view(count, questions, q) for x in (name, value))
        tokens = torch.cat([named, torch.full_like(named, mark)], 2).flatten(1)
        labels = torch.cat([torch.full_like(answer, IGNORED), answer], 2).flatten(1)
        pairs = torch.stack([name, value], 2).flatten(1)
        return torch.cat([pairs, tokens], 1), torch.cat([torch.full_like(pairs, IGNORED), labels], 1)
