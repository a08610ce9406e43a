"""What can be found wrong with a configuration before anything is begun."""

from nas.config.settings import Config
from nas.search.samplers import SAMPLERS
from search_space.cost.cost import cost
from search_space.layouts.layout import Layout
from search_space.space.space import Space
from tracking.store import Store
from workers.model import ProxyModel


def check(config: Config) -> Space:
    """Builds what can be built without training, so that mistakes show before anything is begun.

    Returns:
        The search space.

    Raises:
        InputError: something in the configuration cannot be used.
    """

    Store.locate(".", config.tracking.uri)
    SAMPLERS.get(config.search.sampler, key="search.sampler")
    space = Space(config.space, config.target)
    suite = config.suite()
    blocks = {block for slot in space.slots for block in space.blocks(slot)}
    for block in sorted(blocks, key=str):
        ProxyModel(Layout((block,)), config.proxy, suite.vocabulary, seed=0)
        cost(Layout((block,)), config.target)
    return space
