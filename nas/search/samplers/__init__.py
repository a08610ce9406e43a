"""The catalogue of samplers. Each is a function (problem, seed) -> optuna sampler, called for every proposal: what a
sampler knows it has from the study, so that a search that is resumed goes on as one that was not interrupted.

`problem` (nas.search.problem.Problem) holds the space, the objectives and what layouts cost. A new sampler is a file
beside this one and a line here; a user's own comes in by a dotted path, and any Optuna sampler will do. The study's
parameters are the decisions of the space; of a decision between numbers the parameter is the rank of the number.
"""

from search_space.catalogue import Catalogue

SAMPLERS = Catalogue(
    "sampler",
    {
        "thompson": "nas.search.samplers.thompson:ThompsonSampler",
        "tpe": "nas.search.samplers.optuna_samplers:tpe",
        "nsga2": "nas.search.samplers.optuna_samplers:nsga2",
        "random": "nas.search.samplers.optuna_samplers:random",
    },
)

__all__ = ["SAMPLERS"]
