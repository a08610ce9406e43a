"""What can be answered without recalling anything: the floor that accuracies are compared with.

Shapes: N sequences, L tokens, V values, M scored positions.
"""

import torch
from torch import Tensor

from workers.suite.task import IGNORED, Batch

UNIFORM = "uniform"
LOOKUPS = 2
"""Most tokens that a lookup compares."""


def trivial(batch: Batch) -> dict[str, Tensor]:
    """How well each trivial strategy answers.

    A value is a token that is the label of some position of the batch. The strategies are:

    - uniform: any of the values that are labels of the position's group;
    - frequent: the value shown most often so far;
    - last: the value shown last;
    - lookup_n: the token after the latest place where the n tokens up to here stood before, an induction head; where
      there is none, the most frequent value.

    Returns:
        Strategy -> [M], for every scored position the chance of a right answer.
    """
    group = torch.zeros_like(batch.labels) if batch.group is None else batch.group
    scored = batch.labels != IGNORED
    labels, groups = batch.labels[scored], group[scored]
    values = labels.unique()
    uniform = torch.zeros(len(labels))
    for each in groups.unique():
        uniform[groups == each] = 1 / len(labels[groups == each].unique())
    found: dict[str, list[Tensor]] = {}
    for tokens, at in zip(batch.tokens, scored, strict=True):
        for name, answer in _answers(tokens, values).items():
            found.setdefault(name, []).append(answer[at])
    return {UNIFORM: uniform, **{name: (torch.cat(parts) == labels).float() for name, parts in found.items()}}


def _answers(tokens: Tensor, values: Tensor) -> dict[str, Tensor]:
    """What each strategy says at each position of one sequence: [L] tokens, [V] values -> [L], -1 for nothing."""
    length = len(tokens)
    place = torch.arange(length)
    shown = tokens[:, None] == values  # [L, V]
    counts, frequent = shown.long().cumsum(0).max(1)
    latest = torch.where(shown.any(1), place, -1).cummax(0).values
    answers = {
        "frequent": torch.where(counts > 0, values[frequent], -1),
        "last": torch.where(latest >= 0, tokens[latest], -1),
    }
    equal = tokens[:, None] == tokens  # [L, L]
    same = equal & (place < place[:, None])
    for compared in range(1, LOOKUPS + 1):
        before = torch.where(same, place, -1).max(1).values
        answers[f"lookup_{compared}"] = torch.where(before >= 0, tokens[before + 1], answers["frequent"])
        longer = torch.zeros_like(same)
        longer[compared:, compared:] = equal[:-compared, :-compared]
        same = same & longer
    return answers


def floor(found: dict[str, float], lookup: int) -> float:
    """Accuracy of the best strategy that is trivial for a task.

    Args:
        found: strategy -> accuracy.
        lookup: tokens that a lookup may compare, as `Task.lookup` says.
    """
    solving = {f"lookup_{n}" for n in range(lookup + 1, LOOKUPS + 1)}
    return max(accuracy for name, accuracy in found.items() if name not in solving)


def rescaled(accuracy: float, floor: float) -> float:
    """0 for an accuracy at the floor, 1 for a perfect one; below 0 under the floor."""
    return (accuracy - floor) / (1 - floor)
