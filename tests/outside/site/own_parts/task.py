"""A task that takes no state but the last token."""

from dataclasses import dataclass

import torch

from workers.suite.task import Batch, Task


@dataclass(frozen=True, kw_only=True)
class Repeating(Task):
    """The answer is always the token before."""

    symbols: int = 5

    @property
    def vocabulary(self):
        return self.symbols

    def train_batch(self, count, progress, generator):
        tokens = torch.randint(self.symbols, (count, self.length), generator=generator)
        return Batch(tokens, tokens.roll(1, 1))

    def test_batch(self, count, generator):
        return self.train_batch(count, 1.0, generator)
