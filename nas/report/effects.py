"""What each part does at each depth, as a model of the search sees it.

The model is the Gaussian process with which Thompson sampling proposes (`nas.search.surrogate`), fitted to all runs.
The gain of a block at a depth is the model's mean over random layouts of the space with that block put there, less the
mean over all blocks that may stand there: both are sums of scores, so that their joint posterior gives the error too.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.results.trials import Trial, find_objectives
from nas.search.surrogate import LayoutProcess
from search_space.space.space import Space

FEWEST = 6
"""Layouts of the space that have to be known."""
CONTEXTS = 48
"""Random layouts around a block."""
MOST_RUNS = 2000
"""Runs that the model takes in, the latest ones: its time grows with their cube."""


@dataclass(frozen=True, kw_only=True)
class Effects:
    """Gains of blocks, in an objective that training tells; above 0 is better, whichever way the objective goes.

    Args:
        objective: its name.
        depths: the layers of the proxy that decide together, counted from 0, of each column.
        blocks: names, of each row.
        gains: [row][column] -> gain and its standard error; None where the block may not stand.
        runs: that the model knows.
    """

    objective: str
    depths: tuple[tuple[int, ...], ...]
    blocks: tuple[str, ...]
    gains: tuple[tuple[tuple[float, float] | None, ...], ...]
    runs: int


def effects(trials: Sequence[Trial], space: Space, objective: str) -> Effects | None:
    """The gains of all blocks of the space; None where too few of its layouts were trained.

    Args:
        trials: of the search.
        space: of the search.
        objective: name of a measured one.
    """
    goal = find_objectives([objective])[objective]
    known = [t for t in trials if t.results and space.values(t.layout) is not None]
    if len(known) < FEWEST:
        return None
    runs = [(t.layout, value) for t in known for value in t.measured(objective)][-MOST_RUNS:]
    codes = torch.tensor([space.code(layout) for layout, _ in runs])
    process = LayoutProcess(space.codebook)
    process.fit(codes, torch.from_numpy(goal.losses([value for _, value in runs])))
    draw = random.Random(0)
    around = torch.tensor([space.code(space.sample(draw)) for _ in range(CONTEXTS)])
    groups = space.groups
    blocks = tuple(dict.fromkeys(str(block) for group in groups for block in group.blocks))
    columns = []
    for place, group in enumerate(groups):
        names = [str(block) for block in group.blocks]
        columns.append(dict(zip(names, _gains(process, around, place, space.codes(place)), strict=True)))
    gains = tuple(tuple(column.get(block) for column in columns) for block in blocks)
    depths = tuple(group.layers for group in groups)
    return Effects(objective=objective, depths=depths, blocks=blocks, gains=gains, runs=len(runs))


def _gains(process: LayoutProcess, around: Tensor, place: int, codes: Sequence[int]) -> list[tuple[float, float]]:
    """Gain and error of each of the codes at a place, over all of them."""
    candidates = around.repeat(len(codes), 1)
    candidates[:, place] = torch.tensor(codes).repeat_interleave(len(around))
    mean, covariance = process.posterior(candidates)
    share = torch.eye(len(codes), dtype=mean.dtype).repeat_interleave(len(around), 1) / len(around)
    contrasts = share - share.mean(0)  # [codes, candidates]: a block's mean, less that of all blocks
    gain = -contrasts @ mean  # of losses, lower is better
    error = (contrasts @ covariance @ contrasts.T).diagonal().clamp(min=0).sqrt()
    return list(zip(gain.tolist(), error.tolist(), strict=True))
