"""Needles in a haystack that is easy to predict."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from search_space.checks import positive
from search_space.errors import InputError, one_of
from workers.suite.language import sentences
from workers.suite.sampling import below, check_levels, distinct, in_turn, levels
from workers.suite.task import IGNORED, Batch, Task

HAYSTACKS = ["phrase", "language"]


@dataclass(frozen=True, kw_only=True)
class Needle(Task):
    """K needles (mark, key, value) lie in a haystack of predictable text; then some keys are asked for.

    In token form, RULER's single needle (2404.06654; K = 1) and its multi-key needle, where the other K - 1 needles
    distract. A haystack that repeats a phrase is its single needle 1; one that speaks a language, with values of 8 to
    16 tokens, its single needle 3. Labelled are the key of each question and all tokens of its value but the last, with
    the token that follows. A needle is asked for again only after all the others, and then without a label, since its
    first answer stands close by.

    Args:
        keys: size of the key vocabulary.
        values: size of the value vocabulary.
        value_tokens: tokens in a value.
        haystack: "phrase" repeats a short phrase, which every sequence draws anew; "language" has the tokens of one
            Markov chain for all sequences, about 2 bits each.
        phrase: tokens in the phrase.
        hay: size of the vocabulary of the haystack.
        needles: the K that sequences are drawn with; training starts with the smallest.
        questions: questions at the end of a sequence.
    """

    keys: int = 32
    values: int = 32
    value_tokens: int = 1
    haystack: str = "phrase"
    phrase: int = 6
    hay: int = 16
    needles: tuple[int, ...] = (1, 4, 8)
    questions: int = 4

    def __post_init__(self):
        for name in ("keys", "values", "value_tokens", "phrase", "hay", "questions"):
            positive(name, getattr(self, name))
        if self.haystack not in HAYSTACKS:
            raise InputError("haystack", self.haystack, one_of(self.haystack, HAYSTACKS))
        room = min(self.keys, self.length // (2 + self.value_tokens) - self.questions)
        check_levels("needles", self.needles, room, f"{self.keys} keys, all have to fit in length={self.length}")

    @property
    def lookup(self) -> int:  # noqa: D102
        return int(self.value_tokens > 1)

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
        size = 2 + self.value_tokens
        context = self.length - size * self.questions
        keys = distinct(count, most, self.keys, generator)[..., None]
        values = self.keys + below(self.values, (count, most, self.value_tokens), generator)
        # Sorted random cuts of the tokens that the needles leave free give the hay before each needle.
        used = torch.arange(most) < needles[:, None]
        free = context - size * needles[:, None]
        cuts = below(free + 1, (count, most), generator).masked_fill(~used, context).sort(1).values
        starts = torch.where(used, cuts + size * torch.arange(most), context)
        places = (starts[..., None] + torch.arange(size)).flatten(1)
        whole = torch.cat([torch.full_like(keys, mark), keys, values], 2)  # [N, K, size]
        hay = self.keys + self.values + self._hay(count, context + size, generator)
        text = hay.scatter(1, places, whole.flatten(1))[:, :context]
        order = torch.rand(count, most, generator=generator).masked_fill(~used, 1.0).argsort(1)
        turn = torch.arange(self.questions).expand(count, -1)
        asked = order.gather(1, turn % needles[:, None])
        asking = whole.gather(1, asked[..., None].expand(-1, -1, size))
        asking[..., 0] = question
        labels = torch.full_like(asking, IGNORED)
        labels[..., 1:-1] = asking[..., 2:].where((turn < needles[:, None])[..., None], IGNORED)
        tokens = torch.cat([text, asking.flatten(1)], 1)
        labels = torch.cat([torch.full((count, context), IGNORED), labels.flatten(1)], 1)
        return Batch(tokens, labels, group[:, None].expand_as(tokens))

    def _hay(self, count: int, length: int, generator: Generator) -> Tensor:
        if self.haystack == "language":
            return sentences(count, length, self.hay, generator)
        phrase = below(self.hay, (count, self.phrase), generator)
        return phrase.repeat(1, length // self.phrase + 1)[:, :length]
