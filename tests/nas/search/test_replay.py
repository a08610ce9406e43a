"""A search that was interrupted goes on as the same search, though its proposals are asked for ahead."""

import json
from collections import deque
from dataclasses import replace

import pytest

from nas.config.settings import Search
from nas.results.folder import Folder
from nas.results.reading import LineReader
from nas.results.trials import TrialBook
from nas.search.controller import Controller
from nas.search.proposer import Proposer
from nas.search.samplers import SAMPLERS
from nas.testing.samplers import SPACES, TARGET, costs, measured
from search_space.layouts.layout import Layout
from search_space.layouts.published import Origin
from search_space.space.space import Space
from workers.jobs import Job, Outcome
from workers.training import Result

PUBLISHED = [Layout.parse(text) for text in ("gla*4", "gla*2 attention gla", "attention*4")]
TRIALS = 18


class Pool:
    """Ends jobs in their order: with results, an error of the layout, or once a lost place."""

    def __init__(self, slots):
        self.slots, self.jobs, self.lost = slots, deque(), set()

    def submit(self, job):
        self.jobs.append(job)

    def wait(self, timeout):
        job = self.jobs.popleft()
        if job.trial % 7 == 5:
            return [Outcome(job=job, error="broken")]
        if job.trial % 6 == 4 and job.trial not in self.lost:
            self.lost.add(job.trial)
            return [Outcome(job=job, error="gone", fault="worker")]
        run = Result(seed=0, steps=1, status="complete", recall=measured(job.layout)["recall"])
        return [Outcome(job=job, results=tuple(replace(run, seed=seed) for seed in job.seeds))]


@pytest.fixture
def search(tmp_path):
    """Runs a search, from records on, until it has so many lines or ends; returns the lines."""

    def go(sampler, lines=(), until=None, slots=1):
        folder = Folder(tmp_path / f"{len(list(tmp_path.iterdir()))}")
        folder.path.mkdir()
        folder.runs.write_text("".join(lines))
        space = Space(SPACES["fields"], TARGET)
        settings = Search(seconds=None, trials=TRIALS, seeds=2, sampler=sampler)
        controller = Controller(
            settings,
            folder,
            Pool(slots),
            Proposer(space, settings.objectives, costs, sampler, seed=3),
            TrialBook(costs),
            lambda trial, layout, seeds: Job(
                trial=trial, layout=layout, seeds=seeds, scale=None, training=None, tasks={}
            ),
            [(each, Origin("X", each)) for each in PUBLISHED],
        )
        reader = LineReader(1)
        records = [reader.record(line) for line in lines]
        controller.pool.lost = {r.trial for r in records if r.lost}
        controller.replay(records)
        if until is not None:
            controller.on_progress = lambda now: controller.stop.set() if len(read(folder)) >= until else None
        controller.run()
        return read(folder)

    def read(folder):
        return folder.runs.read_text().splitlines(keepends=True)

    return go


def history(lines):
    """All but the clock."""
    return [{**json.loads(line), "elapsed": 0} for line in lines]


@pytest.mark.parametrize("sampler", SAMPLERS.names())
def test_a_search_that_is_cut_goes_on_as_the_same(search, sampler):
    whole = search(sampler)
    assert len({line["trial"] for line in history(whole)}) == TRIALS
    proposals = [line["proposal"]["known"] for line in history(whole) if line["proposal"]]
    assert len(proposals) >= TRIALS - len(PUBLISHED) and proposals == sorted(proposals)
    for until in (1, 4, 9, 16, 23):
        cut = search(sampler, until=until)
        assert history(cut) == history(whole[: len(cut)])
        assert history(search(sampler, cut)) == history(whole)


@pytest.mark.parametrize("until", [3, 8, 15])
def test_numbers_stay_apart_where_several_run_at_once(search, until):
    cut = search("random", until=until, slots=3)
    found = history(search("random", cut, slots=3))
    layouts = {}
    for line in found:
        layouts.setdefault(line["trial"], set()).add(json.dumps(line["layout"]))
    assert sorted(layouts) == list(range(TRIALS)) and all(len(each) == 1 for each in layouts.values())
    assert len({each.pop() for each in layouts.values()}) == TRIALS
