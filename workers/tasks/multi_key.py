"""Recall among keys that resemble each other: every part of a key is part of others too."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from search_space.checks import count as not_below_zero
from search_space.errors import InputError
from workers.suite.sampling import below, by_level, check_levels, check_positive, distinct, in_turn, levels
from workers.suite.task import IGNORED, Batch, Task


@dataclass(frozen=True, kw_only=True)
class MultiKey(Task):
    """K statements of a key of m tokens and a value; then keys are asked for in random order, each once.

    In token form, RULER's multi-key needle among needles alone (2404.06654, multi-key 2 and 3), whose keys are as much
    alike as can be: a sequence draws r tokens for each place in a key, as few as make K different keys, and all its
    keys are made of these. So each has neighbours that differ in one token only, no token tells it from all others, and
    it has to be composed before it can be matched. Labelled are the last token of a key that is asked for and all
    tokens of its value but the last.

    Args:
        key_tokens: the m that sequences are drawn with.
        alphabet: tokens to choose from at each place of a key.
        value_tokens: tokens in a value.
        values: size of the value vocabulary.
        gap: filler tokens in a statement and a question, at random places ahead of the key's last token, so that a key
            cannot be read at fixed distances.
        keys: the K that sequences are drawn with; training starts with the smallest.
        questions: most questions of a sequence.
    """

    key_tokens: tuple[int, ...] = (2,)
    alphabet: int = 8
    value_tokens: int = 1
    values: int = 16
    gap: int = 0
    keys: tuple[int, ...] = (4, 9, 16)
    questions: int = 16

    def __post_init__(self):
        check_positive(
            alphabet=self.alphabet, value_tokens=self.value_tokens, values=self.values, questions=self.questions
        )
        not_below_zero("gap", self.gap, 64)
        check_levels("key_tokens", self.key_tokens, 8, "tokens in a key")
        room = self.length // self._size(max(self.key_tokens)) - 1
        check_levels("keys", self.keys, room, f"statements, a question has to fit in length={self.length}")
        needed = tokens_for(max(self.keys), min(self.key_tokens))
        if needed > self.alphabet:
            expected = f"at least {needed}, to make {max(self.keys)} keys of {min(self.key_tokens)} tokens"
            raise InputError("alphabet", self.alphabet, expected)

    def _size(self, m: int) -> int:
        return m + self.gap + self.value_tokens

    @property
    def vocabulary(self) -> int:  # noqa: D102
        return self._first_value + self.values + 1

    @property
    def _first_value(self) -> int:
        return self.alphabet * max(self.key_tokens)

    @property
    def groups(self) -> tuple[str, ...]:  # noqa: D102
        return tuple(f"tokens_{m}_keys_{k}" for m in sorted(self.key_tokens) for k in sorted(self.keys))

    @property
    def lookup(self) -> int:  # noqa: D102
        return min(self.key_tokens) - 1

    def train_batch(self, count: int, progress: float, generator: Generator) -> Batch:  # noqa: D102
        m = levels(self.key_tokens, count, 1.0, generator)
        return self._mixed(m, levels(self.keys, count, progress, generator), torch.zeros(count).long(), generator)

    def test_batch(self, count: int, generator: Generator) -> Batch:  # noqa: D102
        _, group = in_turn(range(len(self.groups)), count)
        m, keys = torch.tensor(sorted(self.key_tokens)), torch.tensor(sorted(self.keys))
        return self._mixed(m[group // len(keys)], keys[group % len(keys)], group, generator)

    def _mixed(self, m: Tensor, keys: Tensor, group: Tensor, generator: Generator) -> Batch:
        most = max(self.keys) + 1

        def draw(level: int, rows: int) -> tuple[Tensor, Tensor]:
            return self._sequences(level // most, level % most, rows, generator)

        tokens, labels = by_level(m * most + keys, self.length, self.vocabulary - 1, draw)
        return Batch(tokens, labels, group[:, None].expand_as(tokens))

    def _sequences(self, m: int, keys: int, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
        used = tokens_for(keys, m)
        number = distinct(count, keys, used**m, generator)  # a key, read as a number in base `used`
        symbols = [i * self.alphabet + distinct(count, used, self.alphabet, generator) for i in range(m)]
        key = torch.stack([symbols[i].gather(1, number // used**i % used) for i in range(m)], 2)
        value = self._first_value + below(self.values, (count, keys, self.value_tokens), generator)
        asked = torch.rand(count, keys, generator=generator).argsort(1)[:, : self.questions]
        order = torch.cat([torch.arange(keys).expand(count, keys), asked], 1)[:, : self.length // self._size(m)]
        key, value = (x.gather(1, order[..., None].expand(-1, -1, x.shape[2])) for x in (key, value))
        before = m - 1 + self.gap  # tokens ahead of the last of a key: the others, and filler
        places = torch.rand(*order.shape, before, generator=generator).argsort(2)[..., : m - 1].sort(2).values
        shown = torch.full((*order.shape, before), self.vocabulary - 1).scatter(2, places, key[..., :-1])
        shown = torch.cat([shown, key[..., -1:], value], 2)
        labels = torch.full_like(shown, IGNORED)
        labels[:, keys:, before:-1] = value[:, keys:]
        return shown.flatten(1), labels.flatten(1)


def tokens_for(keys: int, m: int) -> int:
    """The fewest tokens a place that make so many different keys of m tokens."""
    return next(r for r in range(1, keys + 1) if r**m >= keys)
