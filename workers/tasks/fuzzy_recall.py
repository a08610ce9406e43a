"""Recall of keys and values of several tokens: a key has to be composed before it can be matched."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from search_space.errors import InputError
from workers.suite.sampling import (
    below,
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
class FuzzyRecall(Task):
    """K different keys of m tokens, each with a value; then keys at random, each followed by its value again.

    After MAD's fuzzy recall (2403.17844). Each position of a key has its own alphabet, which all keys share, so that
    several keys may have a token in common (`multi_key` sees to it that all do). Labelled are the last token of a
    repeated key and all tokens of its value but the last.

    Args:
        key_tokens: the m that sequences are drawn with.
        alphabet: tokens to choose from at each position of a key; `alphabet` ** m keys are possible.
        value_tokens: tokens in a value.
        values: size of the value vocabulary.
        pairs: the K that sequences are drawn with; training starts with the smallest.
    """

    key_tokens: tuple[int, ...] = (2,)
    alphabet: int = 8
    value_tokens: int = 1
    values: int = 16
    pairs: tuple[int, ...] = (4, 8, 16)

    def __post_init__(self):
        check_positive(alphabet=self.alphabet, value_tokens=self.value_tokens, values=self.values)
        check_levels("key_tokens", self.key_tokens, 8, "tokens in a key")
        if self.alphabet ** max(self.key_tokens) > 65_536:
            raise InputError("alphabet", self.alphabet, "at most 65536 keys: alphabet ** key_tokens")
        statement = max(self.key_tokens) + self.value_tokens
        room = min(self.alphabet ** min(self.key_tokens), self.length // statement - 1)
        check_levels("pairs", self.pairs, room, f"different keys, a repeat has to fit in length={self.length}")

    @property
    def vocabulary(self) -> int:  # noqa: D102
        return self.alphabet * max(self.key_tokens) + self.values + 1

    @property
    def groups(self) -> tuple[str, ...]:  # noqa: D102
        return tuple(f"tokens_{m}_pairs_{k}" for m in sorted(self.key_tokens) for k in sorted(self.pairs))

    @property
    def lookup(self) -> int:  # noqa: D102
        return min(self.key_tokens) - 1

    def train_batch(self, count: int, progress: float, generator: Generator) -> Batch:  # noqa: D102
        tokens = levels(self.key_tokens, count, 1.0, generator)
        pairs = levels(self.pairs, count, progress, generator)
        return self._mixed(tokens, pairs, torch.zeros(count).long(), generator)

    def test_batch(self, count: int, generator: Generator) -> Batch:  # noqa: D102
        _, group = in_turn(range(len(self.groups)), count)
        size = len(self.pairs)
        tokens = torch.tensor(sorted(self.key_tokens))[group // size]
        return self._mixed(tokens, torch.tensor(sorted(self.pairs))[group % size], group, generator)

    def _mixed(self, key_tokens: Tensor, pairs: Tensor, group: Tensor, generator: Generator) -> Batch:
        """Rows with different m side by side."""
        tokens = torch.full((len(pairs), self.length), self.vocabulary - 1)
        labels = torch.full_like(tokens, IGNORED)
        for m in sorted(set(key_tokens.tolist())):
            rows = key_tokens == m
            part = self._batch(m, pairs[rows], group[rows], generator)
            tokens[rows], labels[rows] = part.tokens, part.labels
        return Batch(tokens, labels, group[:, None].expand_as(tokens))

    def _batch(self, m: int, pairs: Tensor, group: Tensor, generator: Generator) -> Batch:
        count, most = len(pairs), int(pairs.max())
        number = distinct(count, most, self.alphabet**m, generator)  # a key, read as a number in base `alphabet`
        digits = [number // self.alphabet**i % self.alphabet + i * self.alphabet for i in range(m)]
        first_value = self.alphabet * max(self.key_tokens)
        value = first_value + below(self.values, (count, most, self.value_tokens), generator)
        statements = torch.cat([torch.stack(digits, 2), value], 2)  # [N, K, m + value_tokens]
        size = statements.shape[2]
        index, repeat = statements_then_repeats(pairs, self.length // size, generator)
        shown = statements.gather(1, index[..., None].expand(-1, -1, size))
        answer = torch.full_like(shown, IGNORED)
        answer[:, :, m - 1 : -1] = torch.where(repeat[..., None], shown[:, :, m:], IGNORED)
        return padded(shown.flatten(1), answer.flatten(1), self.length, self.vocabulary - 1, group)
