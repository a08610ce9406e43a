"""The catalogue of samplers. Each is a function (problem, seed) -> optuna sampler, called for every proposal: what a
sampler knows it has from the study, so that a search that is resumed goes on as one that was not interrupted.

`problem` (nas.search.problem.Problem) holds the space, the objectives and what layouts cost. A new sampler is a file
beside this one and a line here; a user's own comes in by a dotted path, and any Optuna sampler will do. The study's
parameters are the decisions of the space; of a decision between numbers the parameter is the rank of the number.
"""

import inspect
from typing import TYPE_CHECKING, Any

from search_space.catalogue import Catalogue
from search_space.errors import InputError

if TYPE_CHECKING:
    from nas.search.problem import Problem


def _misfit(found: Any) -> str | None:
    from optuna.samplers import BaseSampler

    ours = issubclass(found, BaseSampler) if isinstance(found, type) else inspect.isfunction(found)
    try:
        inspect.signature(found).bind(None, 0)
    except (TypeError, ValueError):
        ours = False
    return None if ours else "a function (problem, seed) -> optuna sampler, or a class of samplers that takes them"


SAMPLERS = Catalogue(
    "sampler",
    {
        "thompson": "nas.search.samplers.thompson:ThompsonSampler",
        "tpe": "nas.search.samplers.optuna_samplers:tpe",
        "nsga2": "nas.search.samplers.optuna_samplers:nsga2",
        "random": "nas.search.samplers.optuna_samplers:random",
    },
    _misfit,
)


def check_sampler(name: str, problem: "Problem") -> None:
    """Makes a sampler, to see whether it can be made.

    Raises:
        InputError: there is none of that name, or it makes none for the problem.
    """
    from optuna.samplers import BaseSampler

    try:
        made: Any = SAMPLERS.get(name, key="search.sampler")(problem, 0)
    except InputError:
        raise
    except Exception as error:  # it may be anybody's
        expected = f"a sampler that can be made ({type(error).__name__}: {error})"
        raise InputError("search.sampler", name, expected) from error
    if not isinstance(made, BaseSampler):
        raise InputError("search.sampler", name, f"what makes an optuna sampler, not a {type(made).__name__}")


__all__ = ["SAMPLERS", "check_sampler"]
