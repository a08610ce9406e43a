"""The contract of a pool: a test suite (pytest) that the local pool and the Ray pool pass.

A pool of your own passes it too:

    from workers.testing import PoolContract

    class TestMine(PoolContract):
        @pytest.fixture
        def pool(self):
            pool = Mine()
            yield pool
            pool.close()
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO

import pytest
import torch

from search_space.cost.target import Target
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.parts.part import Part
from search_space.scale import Proxy, Scale
from workers.jobs import Job, Outcome, run_job
from workers.pool import Pool
from workers.training import Result, Training

PATIENCE = 120.0
"""Seconds after which a job that did not come back is taken for lost."""


def tiny_job(trial: int, seeds: tuple[int, ...] = (0,), mixer: str = "gla") -> Job:
    """A job of a fraction of a second on a CPU."""
    return Job(
        trial=trial,
        layout=Layout((Block(Part(mixer)),)),
        seeds=seeds,
        scale=Scale(Target(), Proxy(width=16, state=128), 16),
        training=Training(length=16, steps=2, batch=2, evaluations=1, test_sequences=2, device="cpu"),
        tasks={"recall": {"keys": 8, "values": 8, "pairs": [2]}},
    )


def numbers(outcome: Outcome) -> tuple[Result, ...]:
    """The results without the time that they took."""
    return tuple(replace(result, seconds=0.0) for result in outcome.results)


def loaded(content: bytes) -> dict[str, list]:
    """Saved weights as plain data."""
    return {name: x.tolist() for name, x in torch.load(BytesIO(content), weights_only=True).items()}


class PoolContract:
    """Inherit it, and let the fixture `pool` return an open pool; the tests leave it idle."""

    @pytest.fixture
    def pool(self) -> Iterator[Pool]:
        """The pool under test."""
        raise NotImplementedError("a subclass gives the fixture `pool`")

    def outcomes(self, pool: Pool, jobs: list[Job]) -> dict[int, Outcome]:
        """Runs the jobs, at most `slots` at a time; trial -> outcome."""
        waiting, running = list(jobs), 0
        found: dict[int, Outcome] = {}
        end = time.monotonic() + PATIENCE
        while len(found) < len(jobs):
            assert time.monotonic() < end, f"trials {sorted(found)} came back of {len(jobs)}"
            while waiting and running < pool.slots:
                pool.submit(waiting.pop(0))
                running += 1
            for outcome in pool.wait(1.0):
                assert outcome.job.trial not in found
                found[outcome.job.trial] = outcome
                running -= 1
        return found

    def test_it_takes_a_job_at_least(self, pool: Pool):
        """`slots` is a positive integer."""
        assert isinstance(pool.slots, int) and pool.slots >= 1

    def test_an_idle_pool_has_no_outcomes(self, pool: Pool):
        """Waiting for nothing returns at once, with nothing."""
        assert pool.wait(0.01) == []

    def test_every_job_comes_back_once(self, pool: Pool):
        """With the job, and with the results that it has in this process."""
        jobs = [tiny_job(trial, seeds) for trial, seeds in enumerate([(0,), (1, 2), (3,)])]
        found = self.outcomes(pool, jobs)
        assert pool.wait(0.01) == []
        for job in jobs:
            outcome = found[job.trial]
            assert outcome.job == job and outcome.error is None
            assert [result.seed for result in outcome.results] == list(job.seeds)
            assert numbers(outcome) == numbers(run_job(job))

    def test_a_job_that_runs_says_how_long_it_will_take(self, pool: Pool):
        """Once its first steps are done, and no longer than it runs."""
        tiny = tiny_job(0)
        job = replace(tiny, training=replace(tiny.training, steps=1000))
        pool.submit(job)
        end = time.monotonic() + PATIENCE
        said: list[tuple[Job, float]] = []
        outcomes: list[Outcome] = []
        while not outcomes:
            assert time.monotonic() < end, "the job did not come back"
            outcomes = pool.wait(0.05)
            said += pool.expected()
        assert said and all(each == job and seconds > 0 for each, seconds in said)
        assert outcomes[0].error is None and pool.expected() == []

    def test_weights_come_back_where_they_are_asked_for(self, pool: Pool):
        """Those of each seed, as this process has them."""
        job = replace(tiny_job(0, (1, 2)), keep_weights=True)
        found = self.outcomes(pool, [job])[0].weights
        assert [*map(loaded, found)] == [*map(loaded, run_job(job).weights)] and len(found) == 2
        assert self.outcomes(pool, [tiny_job(1)])[1].weights == ()

    def test_an_error_comes_back_as_a_value(self, pool: Pool):
        """A layout that fails costs its own job and no other."""
        found = self.outcomes(pool, [tiny_job(0, mixer="no_such.module:Mixer"), tiny_job(1)])
        assert found[0].results == () and "no_such" in str(found[0].error)
        assert found[1].error is None
