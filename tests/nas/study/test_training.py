"""Training a list of jobs: what it says of the time left."""

from types import SimpleNamespace

from nas.study.training import train
from workers.jobs import Outcome
from workers.pool import Workers
from workers.testing.pools import tiny_job


class Scripted:
    """A pool of two that says what its script has: seconds that jobs expect, and those that end, wait by wait."""

    slots = 2

    def __init__(self, script):
        self.jobs, self.script, self.now = [], iter(script), ([], 0)

    def submit(self, job):
        self.jobs.append(job)

    def wait(self, timeout):
        self.now = next(self.script)
        ended = [self.jobs.pop(0) for _ in range(self.now[1])]
        return [Outcome(job=job) for job in ended]

    def expected(self):
        return list(zip(self.jobs, self.now[0], strict=False))

    def close(self):
        pass


def test_the_time_left_is_known_before_a_run_ends(monkeypatch):
    pool = Scripted([([], 0), ([600.0], 0), ([600.0, 1200.0], 0), ([], 2), ([], 2)])
    monkeypatch.setattr("nas.study.training.open_pool", lambda workers: pool)
    jobs = [tiny_job(trial) for trial in range(4)]
    seen, ended = [], []
    assert train(Workers(), jobs, ended.append, seen.append)
    left = [each.seconds_left for each in seen]
    # Four layers, two at a time: 600 s each by the first job, 900 s by both.
    assert left[0] is None and 1190 < left[1] <= 1200 and 1790 < left[2] <= 1800
    assert left[3] < 10 and left[4] == 0.0 and [each.done for each in seen] == [0, 0, 0, 2, 4]
    assert [outcome.job.trial for outcome in ended] == [0, 1, 2, 3]


def test_the_time_left_falls_while_runs_go_on(monkeypatch):
    pool = Scripted([([], 2), ([], 0), ([], 2)])
    clock = iter([0.0, 0.0, 0.0, 100.0, 100.0, 100.0, 100.0, 100.0, 150.0, 200.0, 200.0, 200.0])
    monkeypatch.setattr("nas.study.training.open_pool", lambda workers: pool)
    monkeypatch.setattr("nas.study.training.time", SimpleNamespace(monotonic=lambda: next(clock)))
    seen = []
    assert train(Workers(), [tiny_job(trial) for trial in range(4)], lambda outcome: None, seen.append)
    assert [each.seconds_left for each in seen] == [100.0, 50.0, 0.0]  # two at a time, 100 s each
