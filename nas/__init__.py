"""Architecture search for hybrid language models: which token mixer goes in which layer.

    >>> import nas
    >>> small = ["search.trials=6", "training.steps=8", "workers.pool=local", "tracking.enabled=false"]
    >>> config = nas.load("smoke", small)
    >>> found = nas.search(config, out="runs/first")
    >>> front = found.front()  # a pandas DataFrame
    >>> best = found.pick("knee")
    >>> cost = nas.cost(best.design, config.target)
    >>> text = found.export("knee")
    >>> found = nas.open("runs/first").resume(["search.trials=8"])

Everything heavy is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import nas.search as _room  # noqa: F401  # before the function of that name, which would else give way to the package
from nas.api import build, compare, cost, dry_run, evaluate, fidelity, mixers, search
from nas.version import VERSION

__version__ = VERSION

if TYPE_CHECKING:
    from nas.config import Config, load, presets
    from nas.handle import Search, Status
    from nas.handle import Search as open
    from nas.search.evaluate import Evaluation
    from nas.search.progress import Progress
    from nas.service.client import Client
    from search_space.cost.cost import Cost
    from search_space.cost.target import Target
    from search_space.errors import InputError
    from search_space.layouts.block import Block
    from search_space.layouts.layout import Layout
    from search_space.layouts.published import published_layouts as published
else:
    _HOMES = {
        "Block": "search_space.layouts.block:Block",
        "Client": "nas.service.client:Client",
        "Config": "nas.config:Config",
        "Cost": "search_space.cost.cost:Cost",
        "Evaluation": "nas.search.evaluate:Evaluation",
        "InputError": "search_space.errors:InputError",
        "Layout": "search_space.layouts.layout:Layout",
        "Progress": "nas.search.progress:Progress",
        "Search": "nas.handle:Search",
        "Status": "nas.handle:Status",
        "Target": "search_space.cost.target:Target",
        "load": "nas.config:load",
        "open": "nas.handle:Search",
        "presets": "nas.config:presets",
        "published": "search_space.layouts.published:published_layouts",
    }

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'nas' has no attribute {name!r}")
        module, _, attribute = _HOMES[name].partition(":")
        globals()[name] = getattr(import_module(module), attribute)
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOMES})


__all__ = [
    "Block",
    "Client",
    "Config",
    "Cost",
    "Evaluation",
    "InputError",
    "Layout",
    "Progress",
    "Search",
    "Status",
    "Target",
    "build",
    "compare",
    "cost",
    "dry_run",
    "evaluate",
    "fidelity",
    "load",
    "mixers",
    "open",
    "presets",
    "published",
    "search",
]
