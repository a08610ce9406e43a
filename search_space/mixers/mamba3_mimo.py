"""Mamba-3 with several inputs and outputs a head."""

from typing import Any

from search_space.mixers.mamba3 import Mamba3
from search_space.parts.base import Dims


class Mamba3MIMO(Mamba3):
    """Mamba-3 in its MIMO form (2603.15569, section 3.3): a step writes and reads the state four times.

    Args:
        dims: sizes of the model.
        mimo_rank: R in the paper.
        options: those of `Mamba3`.

    Raises:
        InputError: as `Mamba3`.
    """

    def __init__(self, dims: Dims, *, mimo_rank: int = 4, **options: Any):
        super().__init__(dims, mimo_rank=mimo_rank, **options)
