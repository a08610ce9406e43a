import pytest

from workers.pool import Workers
from workers.pools.local import LocalPool
from workers.testing import PoolContract
from workers.testing.pools import tiny_job


class TestLocal(PoolContract):
    @pytest.fixture
    def pool(self):
        pool = LocalPool(Workers(pool="local"))
        yield pool
        pool.close()

    def test_jobs_run_in_their_order(self, pool):
        for trial in range(3):
            pool.submit(tiny_job(trial))
        assert [pool.wait(60)[0].job.trial for _ in range(3)] == [0, 1, 2]

    def test_closing_gives_up_what_is_left(self, pool):
        pool.submit(tiny_job(0))
        pool.close()
        assert pool.wait(0) == []


class TestRay(PoolContract):
    @pytest.fixture
    def pool(self, ray_pool):
        return ray_pool
