"""In-context recall with noise between the pairs."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from search_space.checks import share
from workers.suite.sampling import check_levels, check_positive
from workers.suite.task import IGNORED, Batch
from workers.tasks.recall import Recall


@dataclass(frozen=True, kw_only=True)
class NoisyRecall(Recall):
    """`Recall` with noise tokens, of their own vocabulary, between the pairs (2403.17844, noisy recall).

    Args:
        noise: size of the noise vocabulary.
        noise_share: share of the sequence that is noise, in [0, 1).
    """

    pairs: tuple[int, ...] = (4, 8, 16)
    noise: int = 16
    noise_share: float = 0.2

    def __post_init__(self):
        share("noise_share", self.noise_share)
        check_positive(keys=self.keys, values=self.values, noise=self.noise)
        room = min(self.keys, self._slots - 1)
        check_levels("pairs", self.pairs, room, f"{self.keys} keys, {self._slots} pairs fit beside the noise")

    @property
    def _slots(self) -> int:
        return (self.length - round(self.noise_share * self.length)) // 2

    @property
    def vocabulary(self) -> int:  # noqa: D102
        return super().vocabulary + self.noise

    def _batch(self, pairs: Tensor, group: Tensor, generator: Generator) -> Batch:
        clean = super()._batch(pairs, group, generator)
        slots, count = self._slots, len(pairs)
        loose = self.length - 2 * slots
        # Pairs (2 tokens) and noise (1 token) come in random order; each starts where the one before it ends.
        is_pair = torch.rand(count, slots + loose, generator=generator).argsort(1) < slots
        starts = (is_pair + 1).cumsum(1) - (is_pair + 1)
        places = starts[is_pair].view(count, slots)
        tokens = torch.randint(self.noise, (count, self.length), generator=generator) + super().vocabulary
        labels = torch.full_like(tokens, IGNORED)
        both = torch.stack([places, places + 1], 2).flatten(1)
        tokens.scatter_(1, both, clean.tokens[:, : 2 * slots])
        labels.scatter_(1, both, clean.labels[:, : 2 * slots])
        return Batch(tokens, labels, clean.group)
