"""The contract of a recall task: a test suite (pytest) that the built-in tasks pass.

A task of your own passes it too:

    from workers.testing import TaskContract

    class TestMine(TaskContract):
        @pytest.fixture
        def task(self):
            return Mine(length=64)
"""

import pytest
import torch
from torch import Generator

from workers.suite.suite import Suite
from workers.suite.task import IGNORED, Batch, Task


def generator(seed: int = 0) -> Generator:
    """A generator with a seed."""
    return torch.Generator().manual_seed(seed)


class TaskContract:
    """Inherit it, and let the fixture `task` return the task."""

    @pytest.fixture
    def task(self) -> Task:
        """The task under test."""
        raise NotImplementedError("a subclass gives the fixture `task`")

    def batches(self, task: Task) -> list[Batch]:
        """Training batches from the beginning to the end of training, and a test batch."""
        trained = [task.train_batch(12, progress, generator(1)) for progress in (0.0, 0.2, 1.0)]
        return [*trained, task.test_batch(4 * len(task.groups), generator(2))]

    def test_shapes_and_ranges(self, task: Task):
        """Tokens and labels have one shape and lie in the vocabulary."""
        for batch in self.batches(task):
            assert batch.tokens.shape == batch.labels.shape and batch.tokens.shape[1] == task.length
            assert batch.tokens.dtype == batch.labels.dtype == torch.int64
            assert batch.tokens.min() >= 0 and batch.tokens.max() < task.vocabulary
            labels = batch.labels[batch.labels != IGNORED]
            assert len(labels) and labels.min() >= 0 and labels.max() < task.vocabulary

    def test_every_sequence_is_scored(self, task: Task):
        """Each sequence has a labelled position."""
        for batch in self.batches(task):
            assert (batch.labels != IGNORED).any(1).all()

    def test_same_seed_same_batch(self, task: Task):
        """The generator alone decides what is drawn."""
        for one, other in zip(self.batches(task), self.batches(task), strict=True):
            assert torch.equal(one.tokens, other.tokens) and torch.equal(one.labels, other.labels)

    def test_other_seed_other_batch(self, task: Task):
        """Another seed draws something else."""
        one, other = (task.train_batch(12, 1.0, generator(seed)) for seed in (1, 2))
        assert not torch.equal(one.tokens, other.tokens)

    def test_as_many_sequences_as_groups_test_them_all(self, task: Task):
        """Every group has a labelled position, and recall is a mean over groups that exist."""
        batch = task.test_batch(len(task.groups), generator())
        assert task.recall_groups and set(task.recall_groups) <= set(task.groups)
        if len(task.groups) > 1:
            assert batch.group is not None
            assert set(batch.group[batch.labels != IGNORED].tolist()) == set(range(len(task.groups)))

    def test_trivial_strategies_leave_room(self, task: Task):
        """The best trivial strategy answers less than four fifths of the levels that are recall, on average."""
        floors = Suite({"task": task}).floors(4 * len(task.groups))
        found = [floors[f"task/{name}"] for name in task.recall_groups if f"task/{name}" in floors]
        assert sum(found) / len(found) < 0.8
