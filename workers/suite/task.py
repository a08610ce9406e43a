"""What every recall task provides.

Shapes: N sequences, L tokens.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Generator, Tensor

IGNORED = -100
"""Label of a position that is not scored (the convention of `torch.nn.functional.cross_entropy`)."""


@dataclass(frozen=True)
class Batch:
    """Sequences and what the model should say at each position.

    Args:
        tokens: [N, L] int64, in [0, vocabulary).
        labels: [N, L] int64: the token that the model should give at this position (not shifted), or IGNORED.
        group: [N, L] int64 or None: the group of each labelled position, as an index into the task's `groups`; None if
            all belong to group 0.
        prior: [N, L, V] float or None: what is added to the logits of every model.
    """

    tokens: Tensor
    labels: Tensor
    group: Tensor | None = None
    prior: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A recall task: draws sequences with labels. Its fields are its options in the configuration.

    A task is one file that subclasses this as a frozen keyword-only dataclass, and one line in the catalogue
    (`workers/tasks/__init__.py`). It must check its options in `__post_init__` (InputError).

    Args:
        length: tokens in a sequence, L. Shorter content is padded with unlabelled filler.
        weight: share of the training batch that this task gets, relative to the other tasks.
        counts: whether the task is part of the suite's recall; if not, it is trained and reported only.
    """

    length: int = 96
    weight: float = 1.0
    counts: bool = True

    @property
    @abstractmethod
    def vocabulary(self) -> int:
        """Number of distinct tokens; tokens are 0 .. vocabulary - 1."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups of positions that are scored apart (difficulties, kinds of tokens)."""
        return ("all",)

    @property
    def recall_groups(self) -> tuple[str, ...]:
        """The groups whose mean accuracy is the task's recall."""
        return self.groups

    @property
    def lookup(self) -> int:
        """Tokens that a lookup may compare (workers/suite/trivial.py) and still be a trivial strategy for this task.

        0 where the value of a key of one token is asked for, as looking that token up is what the task is about; 1
        where keys have two.
        """
        return 0

    @abstractmethod
    def train_batch(self, count: int, progress: float, generator: Generator) -> Batch:
        """Draws `count` training sequences; `progress` in [0, 1] is the share of training done (a curriculum)."""

    @abstractmethod
    def test_batch(self, count: int, generator: Generator) -> Batch:
        """Draws `count` sequences to score, at full difficulty, with equally many of each group.

        As many sequences as groups are enough to have them all, except where what a text says decides the group.
        """
