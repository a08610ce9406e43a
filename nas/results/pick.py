"""Picks layouts out of what a search found."""

import re
from collections.abc import Sequence

import numpy as np

from nas.config import Config
from nas.results.trials import Trial, find_objectives, front_of, losses_of
from search_space.errors import InputError
from tracking.records import axes_of

DOUBLING = 0.25
"""What a factor of two in a cost is worth, in units of the other objectives: it has to bring so much recall."""
CONDITION = re.compile(r"\s*([\w.:]+)\s*(<=|>=|<|>)\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*")
WORDS = "best, knee, all, a condition such as 'recall>=0.87', or a trial number"


def pick(trials: Sequence[Trial], what: str, config: Config) -> list[Trial]:
    """The trials that `what` names.

    Args:
        trials: all of a search, with the front marked.
        what: best (in the first objective that training tells), knee (the best trade; see `knee`), all (the whole
            front, best first), a condition, or the number of a trial. A condition on what training tells, such as
            recall>=0.87, picks the cheapest layout that meets it; one on a cost, such as decode_ms<=1.2, the best one.
        config: of the search; its objectives say what is best.

    Raises:
        InputError: there is no front yet, no such trial, or none that meets the condition.
    """
    names = config.search.objectives
    front = front_of(trials, names)
    if not front:
        raise InputError("DIR", "this search", "at least one layout that was trained to its end")
    if what == "all":
        return front
    if what == "knee":
        return [knee(front, names)]
    if what == "best":
        return [_best(front, names)]
    condition = CONDITION.fullmatch(what) if isinstance(what, str) else None
    if condition:
        return [_meeting(trials, front, names, what, *condition.groups())]
    found = [t for t in trials if str(t.number) == str(what)]
    if not found:
        raise InputError("--pick", what, f"{WORDS} (the front: {[t.number for t in front]})")
    return found


def knee(front: Sequence[Trial], names: Sequence[str]) -> Trial:
    """The best trade of a front: the layout with the largest gain over the front's worst, less what it costs.

    A factor of two in a cost counts as much as `DOUBLING` of recall, however wide the front is. What training tells is
    only as sure as the layout's place on the front: its gain is multiplied with that chance.

    Args:
        front: the layouts to choose from, at least one.
        names: of the objectives.
    """
    worth = np.zeros(len(front))
    sure = np.array([t.confidence for t in front])
    for objective, losses in zip(find_objectives(names).values(), losses_of(front, names).T, strict=True):
        unit = DOUBLING / np.log(2) if objective.ratio else 1.0
        worth += unit * (losses.max() - losses) * (sure if objective.measured else 1.0)
    return front[int(np.argmax(worth))]


def _best(trials: Sequence[Trial], names: Sequence[str], axis: int = 1) -> Trial:
    """The best on the axis (0: the first cost, 1: the first that training tells); of equals, in the others."""
    first = axes_of(find_objectives(names))[axis]
    order = [first, *(name for name in names if name != first)]
    return trials[int(np.lexsort(losses_of(trials, order).T[::-1])[0])]


def _meeting(
    trials: Sequence[Trial], front: Sequence[Trial], names: Sequence[str], what: str, name: str, sign: str, limit: str
) -> Trial:
    """The one that meets a condition: of the front if one there does, else of all."""
    known = [*names, *(cost for cost in front[0].costs if cost not in names)]
    if name not in known:
        raise InputError("--pick", what, f"a condition on one of {', '.join(known)}")
    most, bound = sign[0] == "<", float(limit)

    def meets(trial: Trial) -> bool:
        value = trial.value(name)
        return (value < bound if most else value > bound) or (value == bound and sign[1:] == "=")

    complete = [t for t in trials if t.state == "complete"]
    found = [t for t in front if meets(t)] or [t for t in complete if meets(t)]
    if not found:
        values = [t.value(name) for t in complete]
        expected = f"a condition that a layout meets: {name} is {min(values):.4g} to {max(values):.4g}"
        raise InputError("--pick", what, expected)
    return _best(found, names, axis=1 if name in front[0].costs else 0)
