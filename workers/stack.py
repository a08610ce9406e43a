"""The models of a run: one alone, or those of several seeds as one stack, which launches each kernel once for all.

Shapes: S models, N sequences, L tokens, M scored positions (of the model that has most), V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from kernels.vmap import stacked
from workers.suite.task import IGNORED, Batch


class FlatParameters:
    """A model's parameters, gradients and running average, each in one flat buffer.

    A proxy has over a hundred small tensors; an optimiser step over one buffer takes a tenth of the time.
    The model's parameters and their gradients become views into the buffers.

    Attributes:
        values: all parameters, matrices first, [elements].
        gradients: of the values.
        ema: running average (exponential moving average) of the values; the run keeps it.
        groups: the matrices and the vectors, as two parameters for an optimiser.
    """

    def __init__(self, model: nn.Module):
        parameters = sorted(model.parameters(), key=lambda p: p.dim() < 2)
        matrices = sum(p.numel() for p in parameters if p.dim() >= 2)
        self._hold(torch.cat([p.detach().flatten() for p in parameters]), matrices)
        offset = 0
        for p in parameters:
            end = offset + p.numel()
            p.data = self.values[offset:end].view_as(p)
            p.grad = self.gradients[offset:end].view_as(p)
            offset = end

    def _hold(self, values: Tensor, matrices: int) -> None:
        self.values = values
        self.gradients = torch.zeros_like(values)
        self.ema = values.clone()
        self.groups = [self._leaf(slice(0, matrices)), self._leaf(slice(matrices, None))]

    def _leaf(self, part: slice) -> nn.Parameter:
        leaf = nn.Parameter(self.values[part])
        leaf.grad = self.gradients[part]
        return leaf

    def clip_gradients(self, limit: float) -> None:
        """Scales the gradients down to the norm `limit` where they exceed it."""
        self.gradients.mul_((limit / (self.gradients.norm() + 1e-6)).clamp(max=1.0))

    def finite(self) -> Tensor:
        """Whether all values are finite, [1] bool."""
        return torch.isfinite(self.values).all()[None]

    def swap_ema(self) -> None:
        """Exchanges the values and their running average."""
        held = self.values.clone()
        self.values.copy_(self.ema)
        self.ema.copy_(held)


class StackedParameters(FlatParameters):
    """The parameters of S models of one layout in the same buffers: first all matrices, then all vectors.

    Args:
        models: that differ in the values of their parameters only.

    Attributes:
        by_name: the parameters [S, ...], views into the buffer of values.
    """

    def __init__(self, models: Sequence[nn.Module]):
        self.count = len(models)
        named = sorted(models[0].named_parameters(), key=lambda each: each[1].dim() < 2)
        self.cut = sum(p.numel() for _, p in named if p.dim() >= 2)
        rows = torch.stack([torch.cat([m.get_parameter(n).detach().flatten() for n, _ in named]) for m in models])
        matrices, vectors = rows[:, : self.cut], rows[:, self.cut :]
        self._hold(torch.cat([matrices.flatten(), vectors.flatten()]), matrices.numel())
        self.by_name = {}
        offset = 0
        for name, p in named:
            block, begin = (0, offset) if offset < self.cut else (1, offset - self.cut)
            view = self._blocks(self.values)[block][:, begin : begin + p.numel()].view(self.count, *p.shape)
            self.by_name[name] = nn.Parameter(view)
            offset += p.numel()

    def _blocks(self, buffer: Tensor) -> tuple[Tensor, Tensor]:
        """Matrices and vectors of all models, [S, elements] each."""
        bound = self.count * self.cut
        return buffer[:bound].view(self.count, -1), buffer[bound:].view(self.count, -1)

    def differentiate(self, loss: Tensor) -> None:
        """Sets the gradients to those of `loss`, the sum over models."""
        found = torch.autograd.grad(loss, list(self.by_name.values()), materialize_grads=True)
        each = [gradient.flatten(1) for gradient in found]
        matrices = sum(p.dim() > 2 for p in self.by_name.values())
        for block, parts in zip(self._blocks(self.gradients), (each[:matrices], each[matrices:]), strict=True):
            torch.cat(parts, 1, out=block)

    def clip_gradients(self, limit: float) -> None:
        """Scales the gradients of each model down to the norm `limit` where they exceed it."""
        blocks = self._blocks(self.gradients)
        norms = torch.stack([block.norm(dim=1) for block in blocks]).norm(dim=0)
        factors = (limit / (norms + 1e-6)).clamp(max=1.0)
        for block in blocks:
            block.mul_(factors[:, None])

    def finite(self) -> Tensor:
        """Whether all values of each model are finite, [S] bool."""
        return torch.stack([torch.isfinite(block).all(1) for block in self._blocks(self.values)]).all(0)


State = dict[str, Tensor]
"""Name -> value of each parameter and buffer of a model."""


class Single:
    """One model alone.

    Args:
        model: its parameters become views into flat buffers.
        autocast: the context that its layers run in.
    """

    def __init__(self, model: nn.Module, autocast: Any):
        self.model, self.autocast = model, autocast
        self.weights = FlatParameters(model)

    def backward(self, batches: Sequence[Batch]) -> Tensor:
        """Sets the gradients to those of the loss: mean cross-entropy, [1], over the labels of the one batch."""
        (batch,), device = batches, self.weights.values.device
        tokens, labels = batch.tokens.to(device), batch.labels.to(device)
        scored = labels != IGNORED
        with self.autocast:
            logits = self.model(tokens, scored).float()
        if batch.prior is not None:
            logits = logits + batch.prior.to(device)[scored]
        loss = cross_entropy(logits, labels[scored])
        self.weights.gradients.zero_()
        loss.backward()
        return loss.detach()[None]

    def states(self) -> list[State]:
        """The state of the one model; not a copy."""
        return [{n: x.detach() for n, x in (*self.model.named_parameters(), *self.model.named_buffers())}]

    def answers(self, tokens: Tensor, scored: Tensor) -> Tensor:
        """Logits at the scored positions, without gradients: tokens [N, L], scored [N, L] bool -> [1, M, V]."""
        device = self.weights.values.device
        with torch.no_grad(), self.autocast:
            return self.model(tokens.to(device), scored.to(device)).float()[None]


class Stack:
    """Several models of one layout, run as one by `torch.vmap`. They do not influence each other.

    Args:
        models: that differ in the values of their parameters and buffers only.
        autocast: the context that their layers run in.
    """

    def __init__(self, models: Sequence[nn.Module], autocast: Any):
        self.model, self.autocast = models[0], autocast  # the model for its code, not for its values
        self.weights = StackedParameters(models)
        self._buffers = {n: torch.stack([m.get_buffer(n) for m in models]) for n, _ in self.model.named_buffers()}

    def backward(self, batches: Sequence[Batch]) -> Tensor:
        """Sets the gradients to those of the losses: mean cross-entropy, [S], over the labels of each model's batch."""
        tokens, labels = (torch.stack(each) for each in zip(*((b.tokens, b.labels) for b in batches), strict=True))
        rows, columns, targets = self._to_device(_padded(labels)).unbind()
        logits = self._logits(self._to_device(tokens), (rows, columns), 0)
        priors = [b.prior for b in batches if b.prior is not None]
        if priors:
            models = torch.arange(len(priors), device=rows.device)[:, None]
            logits = logits + self._to_device(torch.stack(priors))[models, rows, columns]
        each = cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")
        losses = each.view_as(targets).sum(1) / (targets != IGNORED).sum(1)
        self.weights.differentiate(losses.sum())
        return losses.detach()

    def states(self) -> list[State]:
        """The state of each model; not copies."""
        stacked = {**self.weights.by_name, **self._buffers}
        return [{name: x.detach()[model] for name, x in stacked.items()} for model in range(self.weights.count)]

    def answers(self, tokens: Tensor, scored: Tensor) -> Tensor:
        """Logits of all models at the same positions, without gradients: [N, L], [N, L] bool -> [S, M, V]."""
        places = self._to_device(torch.stack(scored.nonzero(as_tuple=True))).unbind()
        with torch.no_grad():
            return self._logits(self._to_device(tokens), places, None)

    def _logits(self, tokens: Tensor, places: tuple[Tensor, ...], models: int | None) -> Tensor:
        def run(*inputs: Any) -> Tensor:
            return functional_call(self.model, inputs[:2], inputs[2:])

        mapped = torch.vmap(run, (0, 0, models, models), randomness="different")
        with self.autocast, stacked():
            return mapped(self.weights.by_name, self._buffers, tokens, tuple(places)).float()

    def _to_device(self, x: Tensor) -> Tensor:
        """x on the models' device; a GPU is not waited for."""
        device = self.weights.values.device
        return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x


def _padded(labels: Tensor) -> Tensor:
    """Rows, columns and labels of the scored positions: labels [S, N, L] -> [3, S, M].

    A model with fewer than M scored positions gets any others, labelled IGNORED.
    """
    flat, length = labels.flatten(1), labels.shape[2]
    scored = flat != IGNORED
    counts = scored.sum(1)
    most = int(counts.max())
    own = torch.arange(most) < counts[:, None]
    places = torch.arange(most).repeat(len(labels), 1)
    places[own] = scored.nonzero()[:, 1]
    targets = torch.full_like(places, IGNORED)
    targets[own] = flat[scored]
    return torch.stack([places // length, places % length, targets])
