"""Multi-query associative recall, as Zoology defines it."""

from dataclasses import dataclass

import torch
from torch import Generator

from search_space.checks import positive_number
from search_space.errors import InputError
from workers.suite.sampling import check_levels, check_positive, distinct, levels
from workers.suite.task import IGNORED, Batch, Task


@dataclass(frozen=True, kw_only=True)
class MQAR(Task):
    """K pairs, then slots of two tokens, in which every key is asked for once (2312.04927, section 3.2).

    Keys are drawn without replacement from [1, V/2), values from [V/2, V). Each key gets its own slot, drawn without
    replacement with p(i) ~ a i^(a-1) for slots i = 1, 2, ...: most questions come early, few late. A question is
    labelled with the key's value, and followed by filler instead of the value.

    Args:
        tokens: V, size of the vocabulary; even. The authors take 8192.
        pairs: the K that sequences are drawn with.
        passes: how often the pairs are shown before the questions.
        power: a.
        random_filler: whether other positions hold random tokens (the authors' later default) or zeros.
        curriculum: whether training starts with the smallest K. The authors have none.
    """

    tokens: int = 256
    pairs: tuple[int, ...] = (4, 8, 16)
    passes: int = 1
    power: float = 0.01
    random_filler: bool = True
    curriculum: bool = False

    def __post_init__(self):
        check_positive(tokens=self.tokens, passes=self.passes)
        if self.tokens % 2 or self.tokens < 4:
            raise InputError("tokens", self.tokens, "an even number, 4 or more")
        positive_number("power", self.power)
        room = min(self.tokens // 2 - 1, self.length // (2 * self.passes + 2))
        check_levels("pairs", self.pairs, room, f"every key gets a slot in length={self.length}")

    @property
    def vocabulary(self) -> int:  # noqa: D102
        return self.tokens

    @property
    def groups(self) -> tuple[str, ...]:  # noqa: D102
        return tuple(f"pairs_{k}" for k in sorted(self.pairs))

    def train_batch(self, count: int, progress: float, generator: Generator) -> Batch:  # noqa: D102
        drawn = levels(self.pairs, count, progress if self.curriculum else 1.0, generator)
        return self._by_level(drawn.sort().values, generator)

    def test_batch(self, count: int, generator: Generator) -> Batch:  # noqa: D102
        ordered = torch.tensor(sorted(self.pairs))
        return self._by_level(ordered[torch.arange(count) % len(ordered)].sort().values, generator)

    def _by_level(self, pairs: torch.Tensor, generator: Generator) -> Batch:
        parts = []
        for index, k in enumerate(sorted(self.pairs)):
            count = int((pairs == k).sum())
            if count:
                tokens, labels = self._sequences(count, k, generator)
                parts.append((tokens, labels, torch.full_like(tokens, index)))
        return Batch(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _sequences(self, count: int, k: int, generator: Generator) -> tuple[torch.Tensor, torch.Tensor]:
        half, context = self.tokens // 2, 2 * k * self.passes
        keys = 1 + distinct(count, k, half - 1, generator)
        values = half + distinct(count, k, half, generator)
        slots = (self.length - context) // 2
        weight = torch.arange(1, slots + 1).pow(self.power - 1).log()
        # The order of perturbed log weights is a draw without replacement (the Gumbel trick).
        gumbel = -torch.rand(count, slots, generator=generator).clamp(min=1e-12).log()
        places = context + 2 * (weight - gumbel.log()).argsort(1, descending=True)[:, :k]
        if self.random_filler:
            tokens = torch.randint(self.tokens, (count, self.length), generator=generator)
        else:
            tokens = torch.zeros(count, self.length, dtype=torch.int64)
        tokens[:, :context] = torch.stack([keys, values], 2).flatten(1).repeat(1, self.passes)
        tokens.scatter_(1, places, keys)
        labels = torch.full_like(tokens, IGNORED).scatter_(1, places, values)
        return tokens, labels
