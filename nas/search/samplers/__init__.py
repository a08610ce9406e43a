"""The catalogue of samplers. Each is a function (space, efficiency, seed) -> optuna sampler.

`space` is the search space, `efficiency` gives the cost of a layout. A new sampler is a file beside this one and a
line here; a user's own comes in by a dotted path, and any Optuna sampler will do.
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
