"""What every recall task has to do, a user's own included: subclass `TaskContract`, and give it a `task` fixture."""

import torch

from workers.tasks.base import IGNORED, Batch, Task


def generator(seed: int = 0) -> torch.Generator:
    """A generator with a seed."""
    return torch.Generator().manual_seed(seed)


class TaskContract:
    """The suite; `task` is a fixture of the subclass."""

    def batches(self, task: Task) -> list[Batch]:
        """Training batches from begin to end, and a test batch."""
        trained = [task.train_batch(12, progress, generator(1)) for progress in (0.0, 0.2, 1.0)]
        return [*trained, task.test_batch(4 * len(task.groups), generator(2))]

    def test_shapes_and_ranges(self, task):
        for batch in self.batches(task):
            assert batch.tokens.shape == batch.labels.shape and batch.tokens.shape[1] == task.length
            assert batch.tokens.dtype == batch.labels.dtype == torch.int64
            assert batch.tokens.min() >= 0 and batch.tokens.max() < task.vocabulary
            labels = batch.labels[batch.labels != IGNORED]
            assert len(labels) and labels.min() >= 0 and labels.max() < task.vocabulary

    def test_every_sequence_is_scored(self, task):
        for batch in self.batches(task):
            assert (batch.labels != IGNORED).any(1).all()

    def test_same_seed_same_batch(self, task):
        for one, other in zip(self.batches(task), self.batches(task), strict=True):
            assert torch.equal(one.tokens, other.tokens) and torch.equal(one.labels, other.labels)

    def test_other_seed_other_batch(self, task):
        one, other = (task.train_batch(12, 1.0, generator(seed)) for seed in (1, 2))
        assert not torch.equal(one.tokens, other.tokens)

    def test_all_groups_are_tested(self, task):
        batch = task.test_batch(4 * len(task.groups), generator())
        assert set(task.recall_groups) <= set(task.groups)
        if len(task.groups) > 1:
            assert batch.group is not None
            assert set(batch.group[batch.labels != IGNORED].tolist()) == set(range(len(task.groups)))
