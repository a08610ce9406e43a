"""Trains one layout on the recall suite and scores it."""

import math
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from search_space import limits
from search_space.checks import not_negative, positive, positive_number, share
from search_space.errors import InputError
from search_space.layouts.layout import Layout
from search_space.model import Sizes, build_model
from workers.stack import Single, Stack, State
from workers.suite.suite import Scores, Suite

Checkpoint = dict[str, Any]
"""Everything that a paused run needs to go on; `torch.save` stores it."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a proxy is trained.

    Args:
        length: tokens in a sequence.
        steps: optimiser steps of a full run; the learning rate follows a cosine over them.
        batch: sequences a step.
        learning_rate: peak learning rate of AdamW.
        warmup: share of the steps over which the learning rate rises.
        weight_decay: AdamW's, on matrices only.
        max_grad_norm: larger gradients are scaled down to this norm.
        ema_decay: decay of the running average of the weights that is scored; 0 scores the last weights.
        evaluations: how often a full run is scored, evenly spread, the end included; their mean is its recall. A run of
            fewer steps is scored after each.
        test_sequences: sequences that each task is scored on.
        device: "cpu" or "cuda"; null takes a GPU where there is one.
        precision: of the layers' work, "bf16" or "fp32"; null means bf16 on a GPU, fp32 on a CPU. Weights, their
            gradients and the loss are fp32.
    """

    length: int = 48
    steps: int = 300
    batch: int = 32
    learning_rate: float = 7e-3
    warmup: float = 0.05
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    ema_decay: float = 0.97
    evaluations: int = 10
    test_sequences: int = 96
    device: str | None = None
    precision: str | None = None

    def __post_init__(self):
        positive("training.steps", self.steps, limits.COUNT)
        for key in ("length", "batch", "evaluations", "test_sequences"):
            positive(f"training.{key}", getattr(self, key))
        for key in ("learning_rate", "max_grad_norm"):
            positive_number(f"training.{key}", getattr(self, key))
        for key in ("warmup", "ema_decay"):
            share(f"training.{key}", getattr(self, key))
        not_negative("training.weight_decay", self.weight_decay)
        if self.device not in (None, "cpu", "cuda"):
            raise InputError("training.device", self.device, "cpu, cuda or null")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("training.device", "cuda", "a machine with a GPU and a CUDA build of torch")
        if self.precision not in (None, "bf16", "fp32"):
            raise InputError("training.precision", self.precision, "bf16, fp32 or null")


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came out of one layout with one seed.

    Args:
        seed: of the initial weights and the order of the data.
        steps: optimiser steps done.
        status: "complete", "paused" (steps are left) or "diverged" (loss or weights were no longer finite).
        recall: the mean of the curve "recall", in [0, 1]: the area under it. It varies less between seeds than the last
            value does, and tells layouts apart that end alike (docs/fidelity.md). 0 for a diverged run, and before the
            first evaluation.
        accuracy: "task/group" -> share of labelled positions answered right, at the last evaluation; "task" -> its
            recall. A group that no test sequence has a position of is left out.
        loss: "task/group" and "task" -> mean cross-entropy in nats, at the last evaluation.
        curves: name -> [(step, value), ...], a point for each evaluation: "train_loss" (the mean since the evaluation
            before), "recall" (the mean over the tasks that count), and "recall/task" and "loss/task" of each task.
        seconds: time spent in training and scoring; seeds trained together have equal shares of theirs.
    """

    seed: int
    steps: int
    status: str
    recall: float
    accuracy: dict[str, float] = field(default_factory=dict)
    loss: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class History:
    """What is kept of one seed while it is trained.

    Args:
        curves: as in `Result`.
        scores: of the last evaluation, as `Suite.score` gives them.
        diverged: the step at which loss or weights were found not to be finite; 0 if they are.
    """

    curves: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: {"train_loss": [], "recall": []})
    scores: Scores = field(default_factory=lambda: {"accuracy": {}, "loss": {}})
    diverged: int = 0

    @property
    def recall(self) -> float:
        """Mean over the evaluations so far."""
        curve = self.curves["recall"]
        return 0.0 if self.diverged or not curve else fmean(value for _, value in curve)


def is_evaluation(step: int, training: Training) -> bool:
    """Whether the model is scored after `step` steps: see `Training.evaluations`."""
    steps, evaluations = training.steps, training.evaluations
    return step * evaluations // steps > (step - 1) * evaluations // steps


def learning_rate_at(step: int, training: Training) -> float:
    """Linear warm-up, then a cosine down to zero at the last step."""
    warmup = training.warmup * training.steps
    if step < warmup:
        return training.learning_rate * (step + 1) / (warmup + 1)
    share = (step - warmup) / max(1.0, training.steps - warmup)
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


class Run:
    """One layout being trained with one seed or several, all at the same step.

    `advance` trains for some steps. A checkpoint holds the run in between, and a run that was paused ends with the
    numbers of one that was not. Several seeds are trained as one stack of models; each gets the numbers, up to
    rounding, that it gets by itself.

    Raises:
        InputError: the suite cannot be scored on so few test sequences.
    """

    def __init__(self, layout: Layout, sizes: Sizes, training: Training, suite: Suite, seeds: Sequence[int]):
        suite.check(training.test_sequences)
        self.training, self.suite, self.seeds = training, suite, tuple(seeds)
        device = torch.device(training.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        precision = training.precision or ("bf16" if device.type == "cuda" else "fp32")
        autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
        models = [build_model(layout, sizes, seed).to(device) for seed in self.seeds]
        self.models = Single(models[0], autocast) if len(models) == 1 else Stack(models, autocast)
        self.weights = self.models.weights
        matrices, vectors = self.weights.groups
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [matrices], "weight_decay": training.weight_decay},
                {"params": [vectors], "weight_decay": 0.0},
            ],
            betas=(0.9, 0.98),
            fused=True,
        )
        # The order of the data depends on the seed alone, so layouts are compared on the same batches.
        self.data = [torch.Generator().manual_seed(seed) for seed in self.seeds]
        self.step = 0
        self.seconds = 0.0
        self.histories = [History() for _ in self.seeds]
        self.losses: list[Tensor] = []  # [S] of each step since the last evaluation

    def checkpoint(self) -> Checkpoint:
        """A copy of the run's state, for `restore` of a run made with the same arguments."""
        state = {
            "values": self.weights.values,
            "ema": self.weights.ema,
            "optimizer": self.optimizer.state_dict(),
            "data": [generator.get_state() for generator in self.data],
            "step": self.step,
            "seconds": self.seconds,
            "histories": [vars(history) for history in self.histories],
            "losses": self.losses,
        }
        return deepcopy(state)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes to where `checkpoint` was taken, and leaves it unchanged."""
        checkpoint = deepcopy(checkpoint)
        self.weights.values.copy_(checkpoint["values"])
        self.weights.ema.copy_(checkpoint["ema"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        for generator, state in zip(self.data, checkpoint["data"], strict=True):
            generator.set_state(state)
        self.step, self.seconds = checkpoint["step"], checkpoint["seconds"]
        self.histories = [History(**history) for history in checkpoint["histories"]]
        self.losses = [loss.to(self.weights.values.device) for loss in checkpoint["losses"]]

    @property
    def diverged(self) -> bool:
        """Whether all seeds diverged, so that nothing is left to train."""
        return all(history.diverged for history in self.histories)

    def advance(self, until: int) -> tuple[Result, ...]:
        """Trains up to step `until`, at most `training.steps`, and scores at the evaluation steps on the way."""
        begin = time.perf_counter()
        while self.step < min(until, self.training.steps) and not self.diverged:
            self.losses.append(self._train_step())
            if is_evaluation(self.step, self.training):
                self._record()
        self.seconds += time.perf_counter() - begin
        return self.results()

    def results(self) -> tuple[Result, ...]:
        """What is known of each seed so far."""
        ended = "complete" if self.step >= self.training.steps else "paused"
        return tuple(
            Result(
                seed=seed,
                steps=history.diverged or self.step,
                status="diverged" if history.diverged else ended,
                recall=history.recall,
                accuracy=history.scores["accuracy"],
                loss=history.scores["loss"],
                curves=deepcopy(history.curves),
                seconds=self.seconds / len(self.seeds),
            )
            for seed, history in zip(self.seeds, self.histories, strict=True)
        )

    def states(self) -> list[State]:
        """The state of each seed's model with the averaged weights, which are those that are scored; on the CPU."""
        self.weights.swap_ema()
        found = [{name: x.to("cpu", copy=True) for name, x in state.items()} for state in self.models.states()]
        self.weights.swap_ema()
        return found

    def _train_step(self) -> Tensor:
        """One step; returns the loss of each seed, [S]."""
        training = self.training
        progress = self.step / training.steps
        batches = [self.suite.train_batch(training.batch, progress, generator) for generator in self.data]
        losses = self.models.backward(batches)
        self.weights.clip_gradients(training.max_grad_norm)
        rate = learning_rate_at(self.step, training)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        # A shorter average at the beginning, so that the initial weights are soon forgotten.
        decay = min(training.ema_decay, self.step / (self.step + 10))
        self.weights.ema.lerp_(self.weights.values, 1 - decay)
        self.step += 1
        return losses

    def _record(self) -> None:
        """Adds an evaluation: the mean training loss since the last one, and the scores of the averaged weights."""
        means = torch.stack(self.losses).mean(0)
        self.losses = []
        sound = (torch.isfinite(means) & self.weights.finite()).tolist()
        for history, finite in zip(self.histories, sound, strict=True):
            if not finite:
                history.diverged = history.diverged or self.step
        if self.diverged:
            return
        self.weights.swap_ema()
        scores = self.suite.score_all(self.models.answers, self.training.test_sequences)
        self.weights.swap_ema()
        for history, loss, (found, recall) in zip(self.histories, means.tolist(), scores, strict=True):
            if not history.diverged:
                history.scores = found
                history.curves["train_loss"].append((self.step, loss))
                history.curves["recall"].append((self.step, recall))
                for task in self.suite.tasks:
                    for name, score in (("recall", found["accuracy"]), ("loss", found["loss"])):
                        history.curves.setdefault(f"{name}/{task}", []).append((self.step, score[task]))


def train(
    layout: Layout,
    sizes: Sizes,
    training: Training,
    suite: Suite,
    seeds: Sequence[int],
    *,
    steps: int | None = None,
    checkpoint: Checkpoint | None = None,
) -> tuple[tuple[Result, ...], Checkpoint]:
    """Trains `layout` for `steps` steps in all (default: a full run), continuing from `checkpoint` where one is given.

    The same arguments give the same numbers on the same machine, paused or not.

    Args:
        layout: with options at the scale of `sizes`.
        sizes: of the model; its vocabulary is the suite's.
        training: how it is trained.
        suite: what it is trained and scored on.
        seeds: trained together, as one stack of models; each has a result.
        steps: where to stop.
        checkpoint: of a run with the same arguments.
    """
    run = Run(layout, sizes, training, suite, seeds)
    if checkpoint is not None:
        run.restore(checkpoint)
    return run.advance(training.steps if steps is None else steps), run.checkpoint()
