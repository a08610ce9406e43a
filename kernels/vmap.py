"""Operators under `torch.vmap` over models: one call serves all models.

vmap cannot transform a Triton kernel, a branch on the values of a tensor, or an autograd function. So, within
`stacked()`, an operator gets the inputs of all models at once: the dimension of models is folded into the batch, or
into another dimension whose indices the operator treats independently, and unfolded from the outputs. Autograd works
as usual.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")
Places = int | None | tuple["Places", ...]
"""A dimension of a tensor, or of each tensor in a tuple; None: the tensor has no such dimension."""

_STACKED: ContextVar[bool] = ContextVar("stacked", default=False)


@contextmanager
def stacked(on: bool = True) -> Iterator[None]:
    """Lets operators be called under `torch.vmap` over models, which has to be the outermost transform."""
    before = _STACKED.set(on)
    try:
        yield
    finally:
        _STACKED.reset(before)


def is_stacked() -> bool:
    """Whether operators are called under `torch.vmap` over models."""
    return _STACKED.get()


def stackable(outputs: Places = 0, **inputs: Places) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Makes an operator work within `stacked()`.

    Args:
        outputs: the dimension of each output that the models are unfolded from.
        inputs: name of an argument -> the dimension that the models are folded into; 0, the batch, for arguments that
            are not named. None puts the models in front instead, for operators on any number of dimensions.
    """

    def decorate(operator: Callable[P, R]) -> Callable[P, R]:
        names = tuple(signature(operator).parameters)

        @wraps(operator)
        def entry(*args: P.args, **kwargs: P.kwargs) -> R:
            if not _STACKED.get():
                return operator(*args, **kwargs)
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            call = _Call(operator, tuple(given), tuple(inputs.get(name, 0) for name in given), outputs)
            return _Folded.apply(call, *given.values())

        return entry

    return decorate


class _Call:
    """An operator, the names of its arguments, and the dimensions that models are folded into and unfolded from."""

    def __init__(self, operator: Callable, names: tuple[str, ...], inputs: tuple[Places, ...], outputs: Places):
        self.operator, self.names, self.inputs, self.outputs = operator, names, inputs, outputs

    def __call__(self, values: Any) -> Any:
        with stacked(False):  # an operator may call others
            return self.operator(**dict(zip(self.names, values, strict=True)))


class _Folded(torch.autograd.Function):
    """Bypasses vmap: its rule `vmap` gets the tensors of all models, and autograd records what it does with them."""

    @staticmethod
    def forward(call: _Call, *values: Any) -> Any:
        """The case that all models share the inputs, and none needs a gradient: nothing is folded."""
        return call(values)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Required by vmap."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, call: _Call, *values: Any) -> Any:  # type: ignore[override]
        """See the class."""
        models, places = info.batch_size, in_dims[1:]
        folded = [_fold(*each, models) for each in zip(values, places, call.inputs, strict=True)]
        return _unfold(call(folded), call.outputs, models), _front(call.outputs)


def _fold(x: Any, mapped: Places, into: Places, models: int) -> Any:
    """x with its dimension of models, `mapped` (None if all share x), folded into the dimension `into`."""
    if isinstance(x, tuple):
        parts = into if isinstance(into, tuple) else (into,) * len(x)
        return tuple(_fold(*each, models) for each in zip(x, mapped, parts, strict=True))  # type: ignore[arg-type]
    if not isinstance(x, Tensor):
        return x
    place: Any = into or 0
    if mapped is None:
        x = x.unsqueeze(place).expand(*x.shape[:place], models, *x.shape[place:])
    else:
        x = x.movedim(mapped, place)  # type: ignore[arg-type]
    return x if into is None else x.flatten(place, place + 1)


def _unfold(y: Any, out: Places, models: int) -> Any:
    """The reverse for an output: the dimension of models comes before `out`."""
    if isinstance(y, tuple):
        parts = out if isinstance(out, tuple) else (out,) * len(y)
        return tuple(_unfold(*each, models) for each in zip(y, parts, strict=True))
    return y if out is None else y.unflatten(out, (models, y.shape[out] // models))


def _front(out: Places) -> Places:
    return tuple(_front(each) for each in out) if isinstance(out, tuple) else out or 0
