"""Picks layouts out of what a search found."""

from collections.abc import Sequence

from nas.config import Config
from nas.results.pareto import knee
from nas.results.trials import Trial, front_of, losses_of
from search_space.errors import InputError


def pick(trials: Sequence[Trial], what: str, config: Config) -> list[Trial]:
    """The trials that `what` names.

    Args:
        trials: all of a search, with the front marked.
        what: knee (the front's best trade), all (the whole front, best first), or the number of a trial.
        config: of the search; its objectives say what is best.

    Raises:
        InputError: there is no front yet, or no such trial.
    """
    names = config.search.objectives
    front = front_of(trials, names)
    if not front:
        raise InputError("DIR", "this search", "at least one layout that was trained to its end")
    if what == "all":
        return front
    if what == "knee":
        return [front[knee(losses_of(front, names))]]
    found = [t for t in trials if str(t.number) == str(what)]
    if not found:
        raise InputError("--pick", what, f"knee, all, or a trial number (the front: {[t.number for t in front]})")
    return found
