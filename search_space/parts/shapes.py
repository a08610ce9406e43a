"""Builds models for their shapes alone: no tensor has values, so none takes memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


@contextmanager
def shapes_only() -> Iterator[None]:
    """Tensors that are made in this context lie on the meta device."""
    with torch.device("meta"), _Arithmetic():
        yield


class _Arithmetic(TorchDispatchMode):
    """Elementwise arithmetic without values.

    Torch would do it by its references, and import its compiler or SymPy for that, which takes longer than all the rest
    of a command that prices layouts. So the type of what comes out is that of the same with one number.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler to be told to skip this

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket is torch.ops.aten.arange:
            return torch.empty_like(func(*args, **{**(kwargs or {}), "device": "cpu"}), device="meta")
        tensors = [value for value in args if isinstance(value, Tensor)]
        if kwargs or torch.Tag.pointwise not in func.tags or not all(each.is_meta for each in tensors):
            return func(*args, **(kwargs or {}))
        if func._schema.is_mutable:
            return args[0]
        one = func(*(_one(value) if isinstance(value, Tensor) else value for value in args))
        shape = np.broadcast_shapes(*(tuple(each.shape) for each in tensors))  # torch's own imports SymPy
        return torch.empty(shape, dtype=one.dtype, device="meta")


def _one(like: Tensor) -> Tensor:
    return torch.ones([1] * like.dim(), dtype=like.dtype, device="cpu")
