"""Selective copying: the tokens that stand among noise, in their order."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from workers.suite.sampling import below, check_levels, check_positive, in_turn, levels
from workers.suite.task import IGNORED, Batch, Task


@dataclass(frozen=True, kw_only=True)
class SelectiveCopying(Task):
    """K tokens among noise, then K copy marks; at each mark the model gives the next of the tokens.

    The task of MAD (2403.17844) in the form that Mamba used (2312.00752, section 4.1.1): a mark for every answer,
    where MAD has one mark and then blanks. The model has to keep the order: no token tells what comes next.

    Args:
        symbols: size of the vocabulary of the copied tokens.
        noise: size of the vocabulary of noise; the 1 of the authors is a blank.
        copied: the K that sequences are drawn with; training starts with the smallest.
    """

    symbols: int = 16
    noise: int = 1
    copied: tuple[int, ...] = (4, 8, 16)

    def __post_init__(self):
        check_positive(symbols=self.symbols, noise=self.noise)
        check_levels("copied", self.copied, self.length // 2, f"both copies fit in length={self.length}")

    @property
    def vocabulary(self) -> int:  # noqa: D102
        return self.symbols + self.noise + 1

    @property
    def groups(self) -> tuple[str, ...]:  # noqa: D102
        return tuple(f"copied_{k}" for k in sorted(self.copied))

    @property
    def lookup(self) -> int:  # noqa: D102
        return 1

    def train_batch(self, count: int, progress: float, generator: Generator) -> Batch:  # noqa: D102
        return self._batch(levels(self.copied, count, progress, generator), torch.zeros(count).long(), generator)

    def test_batch(self, count: int, generator: Generator) -> Batch:  # noqa: D102
        return self._batch(*in_turn(sorted(self.copied), count), generator)

    def _batch(self, copied: Tensor, group: Tensor, generator: Generator) -> Batch:
        count, most = len(copied), int(copied.max())
        mark, context = self.vocabulary - 1, self.length - most
        symbols = torch.randint(self.symbols, (count, most), generator=generator)
        used = torch.arange(most) < copied[:, None]
        # The first K of a random order of places, sorted; places that are not used are sorted behind the rest.
        places = torch.rand(count, context, generator=generator).argsort(1)[:, :most]
        places = places.masked_fill(~used, context).sort(1).values
        noise = self.symbols + below(self.noise, (count, self.length + 1), generator)
        tokens = noise[:, : context + 1].scatter(1, places, symbols)[:, :context]
        tokens = torch.cat([tokens, torch.where(used, mark, noise[:, context + 1 :])], 1)
        labels = torch.cat([torch.full((count, context), IGNORED), torch.where(used, symbols, IGNORED)], 1)
        return Batch(tokens, labels, group[:, None].expand_as(tokens))
