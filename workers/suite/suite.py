"""Several tasks in one training run, and the scores that come out.

Shapes: N sequences, L tokens, M scored positions, V joint vocabulary.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from math import isfinite
from statistics import fmean
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy, pad

from search_space.checks import not_negative
from search_space.errors import InputError, one_of
from workers.suite.task import IGNORED, Batch, Task
from workers.suite.trivial import floor, trivial
from workers.tasks import TASKS

Scores = dict[str, dict[str, float]]
"""{"accuracy": {name: share right}, "loss": {name: nats}}, as `Suite.score` names them."""
SCORED_AT_ONCE = 48
"""Sequences that are scored in one go: enough to be fast, few enough to stay in the cache."""


class Suite:
    """Tasks that share a training run; each has its own range of the joint vocabulary.

    Args:
        tasks: label -> task, all of one length; at least one counts.
    """

    def __init__(self, tasks: Mapping[str, Task]):
        self.tasks = dict(tasks)
        self.offsets, self.vocabulary = {}, 0
        for label, task in self.tasks.items():
            self.offsets[label] = self.vocabulary
            self.vocabulary += task.vocabulary
        self._weights = torch.tensor([task.weight for task in self.tasks.values()])
        self._tests: dict[int, dict[str, Batch]] = {}

    def _placed(self, label: str, batch: Batch) -> Batch:
        offset = self.offsets[label]
        labels = torch.where(batch.labels == IGNORED, IGNORED, batch.labels + offset)
        prior = batch.prior
        if prior is not None:
            after = self.vocabulary - offset - self.tasks[label].vocabulary
            # Tokens of other tasks are as unlikely as the least likely one of this.
            prior = pad(prior, (offset, after), value=prior.min().item())
        return Batch(batch.tokens + offset, labels, batch.group, prior)

    def train_batch(self, count: int, progress: float, generator: Generator) -> Batch:
        """`count` sequences, in expectation as many of each task as its weight says."""
        bounds = self._weights.cumsum(0) / self._weights.sum() * count
        ends = (bounds + torch.rand(1, generator=generator)).floor().long().clamp(max=count)
        ends[-1] = count
        parts, begin = [], 0
        for (label, task), end in zip(self.tasks.items(), ends.tolist(), strict=True):
            if end > begin:
                parts.append(self._placed(label, task.train_batch(end - begin, progress, generator)))
            begin = end
        prior = _joined([p.prior for p in parts], [p.labels for p in parts], self.vocabulary)
        return Batch(torch.cat([p.tokens for p in parts]), torch.cat([p.labels for p in parts]), prior=prior)

    def test_batches(self, count: int) -> dict[str, Batch]:
        """`count` sequences of each task, the same at every call."""
        if count not in self._tests:
            self._tests[count] = {
                label: self._placed(label, task.test_batch(count, torch.Generator().manual_seed(1)))
                for label, task in self.tasks.items()
            }
        return self._tests[count]

    def check(self, test_sequences: int) -> None:
        """Checks that every task can be scored on so many sequences.

        Raises:
            InputError: a task has more groups than that, or none of its sequences has a position that is recall.
        """
        label, task = max(self.tasks.items(), key=lambda each: len(each[1].groups))
        if test_sequences < len(task.groups):
            expected = f"at least {len(task.groups)}, so that every group of task {label} gets a sequence"
            raise InputError("training.test_sequences", test_sequences, expected)
        for label, batch in self.test_batches(test_sequences).items():
            task = self.tasks[label]
            present = {task.groups[index] for index in _scored_groups(batch).unique().tolist()}
            if present.isdisjoint(task.recall_groups):
                names = " or ".join(task.recall_groups)
                expected = f"more (or a larger training.length): no sequence of task {label} has a token of {names}"
                raise InputError("training.test_sequences", test_sequences, expected)

    def trivial(self, count: int) -> dict[str, dict[str, float]]:
        """Accuracy of each trivial strategy (workers/suite/trivial.py) on the same sequences as `score`.

        Returns:
            {"task/group": {strategy: share right}}; groups without a position are left out.
        """
        found: dict[str, dict[str, float]] = {}
        for label, batch in self.test_batches(count).items():
            right, group = trivial(batch), _scored_groups(batch)
            for index, name in enumerate(self.tasks[label].groups):
                members = group == index
                if members.any():
                    found[f"{label}/{name}"] = {s: chance[members].mean().item() for s, chance in right.items()}
        return found

    def floors(self, count: int) -> dict[str, float]:
        """{"task/group": accuracy of the best strategy that is trivial for the task}."""
        return {key: floor(each, self.tasks[key.split("/")[0]].lookup) for key, each in self.trivial(count).items()}

    def score(self, answers: Callable[[Tensor, Tensor], Tensor], count: int) -> tuple[Scores, float]:
        """Scores a model on `count` sequences of each task; `check` says whether that is enough.

        Args:
            answers: (tokens [N, L], scored [N, L] bool) -> logits [M, V] at the scored positions.
            count: test sequences of each task.

        Returns:
            {"accuracy": {"task/group": share right}, "loss": {"task/group": nats}}, and under "task" alone the mean
            accuracy of its recall groups and the mean loss of all its positions. Groups without a position are left
            out. Second, the recall: the mean over the tasks that count.
        """
        return self.score_all(lambda tokens, scored: answers(tokens, scored)[None], count)[0]

    def score_all(self, answers: Callable[[Tensor, Tensor], Tensor], count: int) -> list[tuple[Scores, float]]:
        """The same for S models that answer together, with logits [S, M, V]."""
        answered = {label: self._answered(batch, answers) for label, batch in self.test_batches(count).items()}
        models = range(len(next(iter(answered.values()))[0]))
        return [self._scored({label: (r[m], loss[m], g) for label, (r, loss, g) in answered.items()}) for m in models]

    def _scored(self, answered: Mapping[str, tuple[Tensor, Tensor, Tensor]]) -> tuple[Scores, float]:
        """Scores and recall from what one model answered: label -> right or not, loss and group of each position."""
        scores: Scores = {"accuracy": {}, "loss": {}}
        for label, (right, loss, group) in answered.items():
            task = self.tasks[label]
            for index, name in enumerate(task.groups):
                members = group == index
                if members.any():
                    scores["accuracy"][f"{label}/{name}"] = right[members].mean().item()
                    scores["loss"][f"{label}/{name}"] = loss[members].mean().item()
            keys = (f"{label}/{name}" for name in task.recall_groups)
            scores["accuracy"][label] = fmean(scores["accuracy"][key] for key in keys if key in scores["accuracy"])
            scores["loss"][label] = loss.mean().item()
        return scores, fmean(scores["accuracy"][label] for label, task in self.tasks.items() if task.counts)

    @staticmethod
    def _answered(batch: Batch, answers: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Right or not [S, M], loss [S, M] and group [M] of every scored position."""
        right, loss = [], []
        for at in torch.arange(len(batch.tokens)).split(SCORED_AT_ONCE):
            labels = batch.labels[at]
            scored = labels != IGNORED
            logits = answers(batch.tokens[at], scored)  # only what is made of them leaves the device
            if batch.prior is not None:
                logits = logits + batch.prior[at][scored].to(logits.device)
            wanted = labels[scored].to(logits.device).expand(logits.shape[:2])
            right.append((logits.argmax(2) == wanted).float().cpu())
            each = cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")
            loss.append(each.view_as(wanted).cpu())
        return torch.cat(right, 1), torch.cat(loss, 1), _scored_groups(batch)


def _joined(priors: Sequence[Tensor | None], labels: Sequence[Tensor], vocabulary: int) -> Tensor | None:
    """The priors of parts of a batch as one, zero for parts without; None if all are."""
    if all(prior is None for prior in priors):
        return None
    pairs = zip(priors, labels, strict=True)
    return torch.cat([torch.zeros(*own.shape, vocabulary) if prior is None else prior for prior, own in pairs])


def _scored_groups(batch: Batch) -> Tensor:
    """The group of every scored position, [M]."""
    places = batch.labels != IGNORED
    return torch.zeros(int(places.sum()), dtype=torch.int64) if batch.group is None else batch.group[places]


def build_suite(config: Mapping[str, Mapping[str, Any]], length: int) -> Suite:
    """The suite that the configuration asks for.

    Args:
        config: label -> options of the task; `task` names it in the catalogue where the label does not.
        length: tokens in a sequence.

    Raises:
        InputError: no task, an unknown task or option, or a value that the task cannot take.
    """
    tasks = {label: _build_task(label, dict(options or {}), length) for label, options in config.items()}
    tasks = {label: task for label, task in tasks.items() if task.weight > 0}
    if not any(task.counts for task in tasks.values()):
        expected = f"at least one task with a weight that counts: {one_of('', TASKS.names())}"
        raise InputError("tasks", dict(config), expected)
    return Suite(tasks)


def _build_task(label: str, options: dict[str, Any], length: int) -> Task:
    key = f"tasks.{label}"
    name = options.pop("task", label)
    kind = TASKS.get(name, key=key)
    defaults = {f.name: f.default for f in fields(kind) if f.name != "length"}
    for name, value in options.items():
        if name not in defaults:
            raise InputError(f"{key}.{name}", value, f"an option: {one_of(name, ['task', *defaults])}")
        default = defaults[name]
        if default is not MISSING and not _fits(value, default):
            raise InputError(f"{key}.{name}", value, f"a value like {default!r}")
        options[name] = tuple(value) if isinstance(value, list) else value
    not_negative(f"{key}.weight", options.get("weight", 1.0))
    try:
        return kind(length=length, **options)
    except InputError as error:
        raise InputError(f"{key}.{error.key}", error.value, error.expected) from error


def _fits(value: Any, default: Any) -> bool:
    """Whether a value has the type of the default; an integer may stand for a float, a list for a tuple."""
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, int | float) and isfinite(value)
    return isinstance(value, list | tuple) if isinstance(default, tuple) else isinstance(value, type(default))
