"""Trivial strategies, each on a sequence whose answers can be read off."""

import pytest
import torch

from workers.suite.task import IGNORED, Batch
from workers.suite.trivial import floor, rescaled, trivial

#          keys 0-4, values 5-9
TOKENS = [0, 5, 1, 6, 2, 6, 0, 7, 3, 8, 1, 0, 4]
LABELS = {6: 7, 10: 6, 11: 6, 12: 8}


def batch(labels):
    full = [labels.get(i, IGNORED) for i in range(len(TOKENS))]
    return Batch(torch.tensor([TOKENS]), torch.tensor([full]))


def test_each_strategy():
    found = {name: right.tolist() for name, right in trivial(batch(LABELS)).items()}
    # Values are 6, 7 and 8: 5 is never a label.
    assert found["uniform"] == pytest.approx([1 / 3] * 4)
    assert found["frequent"] == [0, 1, 1, 0]  # 6, 6, 6, 6
    assert found["last"] == [0, 0, 0, 1]  # 6, 8, 8, 8
    assert found["lookup_1"] == [0, 1, 0, 0]  # 5 after 0; 6 after 1; 7 after 0; 6, as 4 is new
    assert found["lookup_2"] == [0, 1, 1, 0]  # none of the pairs came before: the most frequent


def test_a_lookup_of_two_tokens_compares_both():
    tokens = torch.tensor([[1, 2, 7, 3, 2, 8, 1, 2]])
    labels = torch.full_like(tokens, IGNORED)
    labels[0, 7] = 7
    found = trivial(Batch(tokens, labels))
    assert found["lookup_2"].tolist() == [1] and found["lookup_1"].tolist() == [0]


def test_values_are_those_of_the_group():
    both = Batch(
        torch.tensor([[0, 1, 2], [0, 1, 2]]),
        torch.tensor([[1, 2, IGNORED], [1, 1, 1]]),
        torch.tensor([[0] * 3, [1] * 3]),
    )
    assert trivial(both)["uniform"].tolist() == pytest.approx([0.5, 0.5, 1, 1, 1])


def test_what_solves_a_task_is_no_floor():
    found = {"uniform": 0.1, "frequent": 0.3, "lookup_1": 0.6, "lookup_2": 1.0}
    assert [floor(found, lookup) for lookup in (0, 1, 2)] == [0.3, 0.6, 1.0]


def test_rescaled():
    assert [rescaled(a, 0.25) for a in (0.25, 1.0, 0.625, 0.1)] == pytest.approx([0.0, 1.0, 0.5, -0.2])
