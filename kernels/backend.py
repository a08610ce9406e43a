"""Which implementation of an operator runs."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

VARIABLE = "KERNELS_BACKEND"

_CALLS: ContextVar[list[str] | None] = ContextVar("calls", default=None)


class _Reached(Exception):
    """A call came to a Triton kernel."""


def pick(implementations: Mapping[str, Callable], x: Tensor) -> Callable:
    """The implementation for inputs like `x`: Triton on a GPU, else the chunked form.

    Triton takes no float64. The environment variable KERNELS_BACKEND names another one, for tests and debugging.

    Raises:
        ValueError: the variable names an implementation that the operator does not have.
    """
    if _CALLS.get() is not None:
        return _noted(implementations)
    best = "triton" if x.is_cuda and x.dtype != torch.float64 else "chunked"
    name = os.environ.get(VARIABLE) or best
    if name not in implementations:
        raise ValueError(f"{VARIABLE}={name}: expected one of {', '.join(implementations)}")
    return implementations[name]


def from_triton(operator: str, name: str) -> Callable:
    """The function `name` of kernels/`operator`/triton.py, imported when first called: not every machine has Triton."""

    def run(*inputs: Any) -> Any:
        if _CALLS.get() is not None:
            raise _Reached
        return getattr(import_module(f"kernels.{operator}.triton"), name)(*inputs)

    return run


@contextmanager
def forms_on_a_gpu() -> Iterator[list[str]]:
    """Finds out what a GPU would run, on any machine: a list that gets "triton" or "chunked" for every operator called.

    What the operators return is that of their chunked forms.
    """
    calls: list[str] = []
    token = _CALLS.set(calls)
    try:
        yield calls
    finally:
        _CALLS.reset(token)


def _noted(implementations: Mapping[str, Callable]) -> Callable:
    def run(*inputs: Any) -> Any:
        calls: Any = _CALLS.get()
        try:
            outputs = implementations["triton"](*inputs)
        except _Reached:
            outputs = implementations["chunked"](*inputs)
            calls.append("triton")
        else:
            calls.append("chunked")
        return outputs

    return run


def needs_gradient(*tensors: Tensor | None) -> bool:
    """Whether autograd will ask for the gradient of one of them."""
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


def state_dtype(x: Tensor) -> torch.dtype:
    """float32 at least: a state sums over many tokens."""
    return torch.promote_types(x.dtype, torch.float32)


def to_heads(x: Tensor, heads: int) -> Tensor:
    """x [..., G, size], which the heads of a group share, for each head: [..., H, size].

    Raises:
        ValueError: G does not divide H.
    """
    groups = x.shape[-2]
    if groups == heads:
        return x
    if not groups or heads % groups:
        raise ValueError(f"{groups} shared heads: expected a divisor of {heads}, the number of heads")
    return x.repeat_interleave(heads // groups, -2)


def check_shapes(**expected: tuple[Tensor | None, tuple[int, ...]]) -> None:
    """Compares tensors (None is left out) with the shapes that they should have.

    Raises:
        ValueError: one differs; names it.
    """
    for name, (tensor, shape) in expected.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}: expected {shape}")
