"""Needles in a repetitive haystack."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from workers.suite.sampling import below, check_levels, check_positive, distinct, in_turn, levels
from workers.suite.task import IGNORED, Batch, Task


@dataclass(frozen=True, kw_only=True)
class Needle(Task):
    """K needles (mark, key, value) lie in a haystack that repeats a short phrase; then some keys are asked for.

    In token form, RULER's single needle (2404.06654; K = 1) and its multi-key needle, where the other K - 1 needles
    distract. Labelled is the key of each question, with its value. A needle is asked for again only after all the
    others, and then without a label, since its first answer stands close by.

    Args:
        keys: size of the key vocabulary.
        values: size of the value vocabulary.
        phrase: tokens in the phrase that the haystack repeats; a sequence draws its own.
        hay: size of the vocabulary of phrases.
        needles: the K that sequences are drawn with; training starts with the smallest.
        questions: questions at the end of a sequence.
    """

    keys: int = 32
    values: int = 32
    phrase: int = 6
    hay: int = 16
    needles: tuple[int, ...] = (1, 4, 8)
    questions: int = 4

    def __post_init__(self):
        check_positive(keys=self.keys, values=self.values, phrase=self.phrase, hay=self.hay, questions=self.questions)
        room = min(self.keys, self.length // 3 - self.questions)
        check_levels("needles", self.needles, room, f"{self.keys} keys, all have to fit in length={self.length}")

    @property
    def vocabulary(self) -> int:  # noqa: D102
        return self.keys + self.values + self.hay + 2

    @property
    def groups(self) -> tuple[str, ...]:  # noqa: D102
        return tuple(f"needles_{k}" for k in sorted(self.needles))

    def train_batch(self, count: int, progress: float, generator: Generator) -> Batch:  # noqa: D102
        return self._batch(levels(self.needles, count, progress, generator), torch.zeros(count).long(), generator)

    def test_batch(self, count: int, generator: Generator) -> Batch:  # noqa: D102
        return self._batch(*in_turn(sorted(self.needles), count), generator)

    def _batch(self, needles: Tensor, group: Tensor, generator: Generator) -> Batch:
        count, most = len(needles), int(needles.max())
        mark, question = self.vocabulary - 2, self.vocabulary - 1
        context = self.length - 3 * self.questions
        phrase = self.keys + self.values + below(self.hay, (count, self.phrase), generator)
        hay = phrase.repeat(1, context // self.phrase + 1)[:, :context]
        keys = distinct(count, most, self.keys, generator)
        values = self.keys + below(self.values, keys.shape, generator)
        # Sorted random cuts of the tokens that the needles leave free give the hay before each needle.
        used = torch.arange(most) < needles[:, None]
        free = context - 3 * needles[:, None]
        cuts = below(free + 1, (count, most), generator).masked_fill(~used, context).sort(1).values
        starts = torch.where(used, cuts + 3 * torch.arange(most), context)
        tokens = torch.cat([hay, hay.new_zeros(count, 3)], 1)
        for offset, part in enumerate((torch.full_like(keys, mark), keys, values)):
            tokens.scatter_(1, starts + offset, part)
        order = torch.rand(count, most, generator=generator).masked_fill(~used, 1.0).argsort(1)
        turn = torch.arange(self.questions).expand(count, -1)
        asked = order.gather(1, turn % needles[:, None])
        answer = values.gather(1, asked)
        asking = torch.stack([torch.full_like(asked, question), keys.gather(1, asked), answer], 2)
        ignored = torch.full_like(answer, IGNORED)
        due = answer.where(turn < needles[:, None], IGNORED)
        labels = torch.stack([ignored, due, ignored], 2).flatten(1)
        tokens = torch.cat([tokens[:, :context], asking.flatten(1)], 1)
        labels = torch.cat([torch.full((count, context), IGNORED), labels], 1)
        return Batch(tokens, labels, group[:, None].expand_as(tokens))
