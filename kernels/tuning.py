"""How kernels are launched: a few configurations each, the fastest of which is found at a kernel's first call."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import triton
from torch import Tensor

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def tuned(configs: Sequence[tuple[int, int]], key: Sequence[str], **blocks: Sequence[int]) -> Callable[[Any], Any]:
    """Decorates a kernel that is to run in the fastest of several configurations.

    What was found is kept on disk beside the compiled kernels, so only the first process on a machine measures.
    Interpreted kernels run in the first configuration: the interpreter has nothing to measure.

    Args:
        configs: (warps, stages) pairs.
        key: names of arguments; the search is made anew for other values of them.
        blocks: further constants of the kernel, a value for each pair.
    """
    choices = [
        triton.Config({name: values[i] for name, values in blocks.items()}, num_warps=warps, num_stages=stages)
        for i, (warps, stages) in enumerate(configs)
    ]
    return triton.autotune(choices[:1] if INTERPRETED else choices, key=list(key), cache_results=True)


def block(size: int) -> int:
    """The power of two, 16 at least, that covers `size`: what a matrix product of a kernel can take."""
    return max(16, triton.next_power_of_2(size))


def strides(x: Tensor | None, count: int) -> tuple[int, ...]:
    """Of the first `count` dimensions; zeros for a tensor that is not there, whose kernel never asks."""
    return (0,) * count if x is None else tuple(x.stride()[:count])


def packed(x: Tensor) -> Tensor:
    """x itself if its last dimension is contiguous, as kernels assume, else a copy."""
    return x if x.stride(-1) == 1 else x.contiguous()
