"""Trains one layout on the recall suite and scores it."""

import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from search_space.errors import InputError
from search_space.layout import Layout
from workers.model import Proxy, ProxyModel
from workers.tasks.base import IGNORED
from workers.tasks.suite import Suite

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
        clip: largest gradient norm.
        average: decay of the running average of the weights that is scored; 0 scores the last weights.
        evaluations: how often a full run is scored on its way, the end included.
        test_sequences: sequences a task is scored on.
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
    clip: float = 1.0
    average: float = 0.97
    evaluations: int = 4
    test_sequences: int = 96
    device: str | None = None
    precision: str | None = None

    def __post_init__(self):
        for key in ("length", "steps", "batch", "evaluations", "test_sequences"):
            if getattr(self, key) < 1:
                raise InputError(f"training.{key}", getattr(self, key), "a positive integer")
        for key in ("learning_rate", "clip"):
            if not 0 < getattr(self, key) < math.inf:
                raise InputError(f"training.{key}", getattr(self, key), "a positive number")
        for key in ("warmup", "average"):
            if not 0 <= getattr(self, key) < 1:
                raise InputError(f"training.{key}", getattr(self, key), "a number in [0, 1)")
        if self.weight_decay < 0:
            raise InputError("training.weight_decay", self.weight_decay, "zero or more")
        if self.device not in (None, "cpu", "cuda"):
            raise InputError("training.device", self.device, "cpu, cuda or null")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("training.device", "cuda", "a machine with a GPU and a CUDA build of torch")
        if self.precision not in (None, "bf16", "fp32"):
            raise InputError("training.precision", self.precision, "bf16, fp32 or null")


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came out of one run (one layout, one seed).

    Args:
        seed: of the initial weights and the order of the data.
        steps: optimiser steps done.
        status: "complete", "paused" (steps are left) or "diverged" (loss or weights were no longer finite).
        recall: mean over tasks of their recall, in [0, 1]; 0 for a diverged run.
        accuracy: "task/group" -> share of labelled positions answered right; "task" -> its recall.
        loss: "task/group" and "task" -> mean cross-entropy in nats.
        curves: name -> [(step, value), ...]: "train_loss", "recall", and "recall/task" and "loss/task" of each task.
        seconds: time spent in training and scoring.
    """

    seed: int
    steps: int
    status: str
    recall: float
    accuracy: dict[str, float] = field(default_factory=dict)
    loss: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    seconds: float = 0.0


class FlatParameters:
    """A model's parameters, gradients and running average, each in one flat buffer.

    A proxy has over a hundred small tensors; an optimiser step over one buffer takes a tenth of the time.
    The model's parameters and their gradients become views into the buffers.
    """

    def __init__(self, model: nn.Module):
        parameters = sorted(model.parameters(), key=lambda p: p.dim() < 2)
        self.values = torch.cat([p.detach().flatten() for p in parameters])
        self.gradients = torch.zeros_like(self.values)
        offset = 0
        for p in parameters:
            end = offset + p.numel()
            p.data = self.values[offset:end].view_as(p)
            p.grad = self.gradients[offset:end].view_as(p)
            offset = end
        matrices = sum(p.numel() for p in parameters if p.dim() >= 2)
        self.average = self.values.clone()
        self.groups = [
            self._leaf(slice(0, matrices)),
            self._leaf(slice(matrices, None)),
        ]

    def _leaf(self, part: slice) -> nn.Parameter:
        leaf = nn.Parameter(self.values[part])
        leaf.grad = self.gradients[part]
        return leaf

    def clip_gradients(self, limit: float) -> None:
        """Scales the gradients down to the norm `limit` where they exceed it."""
        self.gradients.mul_((limit / (self.gradients.norm() + 1e-6)).clamp(max=1.0))

    def swap_average(self) -> None:
        """Exchanges the values and their running average."""
        held = self.values.clone()
        self.values.copy_(self.average)
        self.average.copy_(held)


def learning_rate_at(step: int, training: Training) -> float:
    """Linear warm-up, then a cosine down to zero at the last step."""
    warmup = training.warmup * training.steps
    if step < warmup:
        return training.learning_rate * (step + 1) / (warmup + 1)
    share = (step - warmup) / max(1.0, training.steps - warmup)
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


class Run:
    """One layout being trained with one seed; `advance` takes it to a step, and it can be paused in between."""

    def __init__(self, layout: Layout, proxy: Proxy, training: Training, suite: Suite, seed: int):
        self.training, self.suite, self.seed = training, suite, seed
        self.device = torch.device(training.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        precision = training.precision or ("bf16" if self.device.type == "cuda" else "fp32")
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16")
        self.model = ProxyModel(layout, proxy, suite.vocabulary, seed).to(self.device)
        self.weights = FlatParameters(self.model)
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
        self.data = torch.Generator().manual_seed(seed)
        self.step = 0
        self.seconds = 0.0
        self.diverged = False
        self.curves: dict[str, list[tuple[int, float]]] = {"train_loss": [], "recall": []}
        self.scores: dict[str, dict[str, float]] = {"accuracy": {}, "loss": {}}

    def checkpoint(self) -> Checkpoint:
        """The state of the run, to be given to `restore` of a run made with the same arguments."""
        return {
            "values": self.weights.values,
            "average": self.weights.average,
            "optimizer": self.optimizer.state_dict(),
            "data": self.data.get_state(),
            "step": self.step,
            "seconds": self.seconds,
            "curves": self.curves,
            "scores": self.scores,
            "diverged": self.diverged,
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes back to where `checkpoint` was taken."""
        self.weights.values.copy_(checkpoint["values"])
        self.weights.average.copy_(checkpoint["average"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.data.set_state(checkpoint["data"])
        self.step, self.seconds = checkpoint["step"], checkpoint["seconds"]
        self.curves, self.scores = checkpoint["curves"], checkpoint["scores"]
        self.diverged = checkpoint["diverged"]

    def advance(self, until: int) -> Result:
        """Trains up to step `until` (at most `training.steps`), scoring at the evenly spaced evaluation steps."""
        begin = time.perf_counter()
        every = max(1, self.training.steps // self.training.evaluations)
        losses: list[Tensor] = []
        while self.step < min(until, self.training.steps) and not self.diverged:
            losses.append(self._train_step())
            if self.step % every == 0 or self.step == self.training.steps:
                self._record(losses)
                losses = []
        if losses and not self.diverged:
            self._record(losses)
        self.seconds += time.perf_counter() - begin
        return self.result()

    def result(self) -> Result:
        """What is known of the run so far."""
        ended = "complete" if self.step >= self.training.steps else "paused"
        return Result(
            seed=self.seed,
            steps=self.step,
            status="diverged" if self.diverged else ended,
            recall=0.0 if self.diverged or not self.curves["recall"] else self.curves["recall"][-1][1],
            accuracy=self.scores["accuracy"],
            loss=self.scores["loss"],
            curves=self.curves,
            seconds=self.seconds,
        )

    def _train_step(self) -> Tensor:
        training = self.training
        batch = self.suite.train_batch(training.batch, self.step / training.steps, self.data)
        tokens, labels = batch.tokens.to(self.device), batch.labels.to(self.device)
        scored = labels != IGNORED
        self.weights.gradients.zero_()
        with self.autocast:
            logits = self.model(tokens, scored)
        loss = cross_entropy(logits.float(), labels[scored])
        loss.backward()
        self.weights.clip_gradients(training.clip)
        rate = learning_rate_at(self.step, training)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        # Early weights would linger in an average that starts at its full length.
        decay = min(training.average, self.step / (self.step + 10))
        self.weights.average.lerp_(self.weights.values, 1 - decay)
        self.step += 1
        return loss.detach()

    def _record(self, losses: list[Tensor]) -> None:
        """Notes the mean training loss since the last record and the scores of the averaged weights."""
        mean_loss = torch.stack(losses).mean().item()
        if not (math.isfinite(mean_loss) and torch.isfinite(self.weights.values).all()):
            self.diverged = True
            return
        self.weights.swap_average()
        self.scores, recall = self.suite.score(self._answers, self.training.test_sequences)
        self.weights.swap_average()
        self.curves["train_loss"].append((self.step, mean_loss))
        self.curves["recall"].append((self.step, recall))
        for task in self.suite.tasks:
            self.curves.setdefault(f"recall/{task}", []).append((self.step, self.scores["accuracy"][task]))
            self.curves.setdefault(f"loss/{task}", []).append((self.step, self.scores["loss"][task]))

    @torch.no_grad()
    def _answers(self, tokens: Tensor, scored: Tensor) -> Tensor:
        with self.autocast:
            return self.model(tokens.to(self.device), scored.to(self.device)).float().cpu()


def train(
    layout: Layout,
    proxy: Proxy,
    training: Training,
    suite: Suite,
    seed: int,
    *,
    steps: int | None = None,
    checkpoint: Checkpoint | None = None,
) -> tuple[Result, Checkpoint]:
    """Trains `layout` for `steps` steps in all (default: a full run), continuing from `checkpoint` where one is given.

    The same arguments give the same numbers on the same machine, paused or not.
    """
    run = Run(layout, proxy, training, suite, seed)
    if checkpoint is not None:
        run.restore(checkpoint)
    return run.advance(training.steps if steps is None else steps), run.checkpoint()
