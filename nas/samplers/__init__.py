"""The catalogue of samplers. Each is a function (space, efficiency, seed) -> optuna sampler.

`space` is the search space, `efficiency` gives the cost of a layout. A new sampler is a file beside this one and a
line here; a user's own comes in by a dotted path, and any Optuna sampler will do.
"""

from search_space.catalogue import Catalogue

SAMPLERS = Catalogue(
    "sampler",
    {
        "thompson": "nas.samplers.thompson:ThompsonSampler",
        "tpe": "nas.samplers.peers:tpe",
        "nsga2": "nas.samplers.peers:nsga2",
        "random": "nas.samplers.peers:random",
    },
)

__all__ = ["SAMPLERS"]
