"""Random choices, and checks of options, that the recall tasks share.

Shapes: N sequences, K pairs, S slots, L tokens.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from search_space.checks import positive
from search_space.errors import InputError
from workers.suite.task import IGNORED, Batch

WARM_UP = 0.3
"""Share of the training after which a curriculum draws from all levels."""


def distinct(count: int, size: int, pool: int, generator: Generator) -> Tensor:
    """[count, size]: in every row, `size` different numbers below `pool`, in random order."""
    return torch.rand(count, pool, generator=generator).topk(size, largest=False).indices


def below(limit: Tensor | int, shape: Sequence[int], generator: Generator) -> Tensor:
    """Numbers in [0, limit), uniform; `limit` may be a tensor that broadcasts to `shape`."""
    return (torch.rand(shape, generator=generator) * limit).long()


def levels(values: Sequence[int], count: int, progress: float, generator: Generator) -> Tensor:
    """[count]: one of `values` for each row. At first the smallest, then more, from WARM_UP on all of them."""
    ordered = sorted(values)
    open_now = 1 + int((len(ordered) - 1) * min(1.0, progress / WARM_UP))
    return torch.tensor(ordered)[below(open_now, (count,), generator)]


def in_turn(values: Sequence[int], count: int) -> tuple[Tensor, Tensor]:
    """[count] values and their indices: each value in turn."""
    index = torch.arange(count) % len(values)
    return torch.tensor(list(values))[index], index


def statements_then_repeats(pairs: Tensor, slots: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Which pair each slot holds: pairs 0 .. K-1 in order, then random repeats of them.

    Args:
        pairs: [N], the K of each row.
        slots: S.

    Returns:
        index [N, S] and whether a slot is a repeat [N, S].
    """
    slot = torch.arange(slots).expand(len(pairs), slots)
    repeat = slot >= pairs[:, None]
    return torch.where(repeat, below(pairs[:, None], (len(pairs), slots), generator), slot), repeat


def by_level(
    level: Tensor, length: int, filler: int, draw: Callable[[int, int], tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """Rows of different levels side by side.

    Args:
        level: [N], of each row.
        length: L.
        filler: token behind shorter rows; it is not labelled.
        draw: (level, rows) -> tokens and labels of that many rows, [rows, at most L].

    Returns:
        tokens [N, L] and labels [N, L].
    """
    tokens = torch.full((len(level), length), filler)
    labels = torch.full_like(tokens, IGNORED)
    for each in sorted(set(level.tolist())):
        rows = level == each
        for whole, part in zip((tokens, labels), draw(each, int(rows.sum())), strict=True):
            whole[rows, : part.shape[1]] = part
    return tokens, labels


def padded(tokens: Tensor, labels: Tensor, length: int, filler: int, group: Tensor) -> Batch:
    """A batch of `length` tokens: rows end in unlabelled `filler`, and all positions of a row have its `group` [N]."""
    missing = length - tokens.shape[1]
    if missing:
        tokens = torch.nn.functional.pad(tokens, (0, missing), value=filler)
        labels = torch.nn.functional.pad(labels, (0, missing), value=IGNORED)
    return Batch(tokens, labels, group[:, None].expand_as(tokens))


def check_positive(**values: Any) -> None:
    """Raises InputError unless all values are positive integers."""
    for name, value in values.items():
        positive(name, value)


def check_levels(name: str, values: Any, most: int, why: str) -> None:
    """Raises InputError unless `values` is a list of different integers in [1, most]."""
    good = isinstance(values, list | tuple) and values and len(set(values)) == len(values)
    if not good or not all(isinstance(v, int) and not isinstance(v, bool) and 1 <= v <= most for v in values):
        raise InputError(name, values, f"a list of different integers from 1 to {most} ({why})")
