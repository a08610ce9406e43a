import pytest

from workers.pool import Workers
from workers.pools.ray import RayPool


@pytest.fixture(scope="package")
def ray_pool():
    """One Ray for all tests here: it takes ten seconds to start."""
    pool = RayPool(Workers(count=1))
    yield pool
    pool.close()
