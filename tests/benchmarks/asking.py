"""What the search itself costs beside training: asking, telling, keeping the front, and reading a folder back.

Run as `python -m tests.benchmarks.asking [asks] [folders] [waiting] [quality]`, by default all; writes its sections of
tests/benchmarks/results/asking.md. Searches are those of tests/benchmarks/made_up.py. Each row is a process of its own.
"""

import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from threading import Event

import numpy as np

from nas.results.folder import Folder
from nas.results.trials import TrialBook
from nas.search.controller import AHEAD_FROM, Controller
from nas.search.setup import costs_of, make_job
from search_space.space.space import Space
from tests.benchmarks import ahead
from tests.benchmarks.made_up import Timed, config, problem_of, records, result
from tests.benchmarks.samplers import Problem
from workers.jobs import Job, Outcome

RESULTS = Path(__file__).parent / "results" / "asking.md"
TRIALS, JOBS = (100, 500, 1000, 2000), 20
SAMPLERS = ("thompson", "tpe", "nsga2")
RUNS, PROBLEMS = 10_000, 10


class AtOnce:
    """A pool of one place whose jobs have ended when they are looked for; it ends the search after JOBS of them."""

    slots = 1

    def __init__(self, problem: Problem, most: int, stop: Event):
        self.problem, self.left, self.stop, self.rng = problem, most, stop, random.Random(1)
        self.jobs: list[Job] = []

    def submit(self, job: Job) -> None:
        """Takes a job."""
        self.jobs.append(job)

    def wait(self, timeout: float) -> list[Outcome]:
        """What became of it."""
        ended = [
            Outcome(job=job, results=tuple(result(self.problem, job.layout, seed, self.rng) for seed in job.seeds))
            for job in self.jobs
        ]
        self.jobs, self.left = [], self.left - len(ended)
        if self.left <= 0:
            self.stop.set()
        return ended

    def close(self) -> None:
        """Ends nothing."""


def asked(sampler: str, trials: int) -> str:
    """A row: a search of `trials` trials goes on for some jobs."""
    chosen = config(trials, sampler)
    space, problem, costs = Space(chosen.space, chosen.target), problem_of(chosen), costs_of(chosen)
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(path)
        stop = Event()
        pool = AtOnce(problem, JOBS, stop)
        proposer = Timed(space, chosen.search.objectives, costs, sampler, 0)
        book = TrialBook(costs)
        controller = Controller(
            chosen.search, folder, pool, proposer, book, lambda *job: make_job(chosen, *job), stop=stop
        )
        controller.replay(list(records(space, problem, costs, trials)))
        begin = time.thread_time()
        controller.run()
        whole = time.thread_time() - begin
    first, *asks = proposer.asks  # the first ask after a resume has more to do
    own = whole / JOBS + np.mean(proposer.tells[-JOBS // 2 :])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return (
        f"| {sampler} | {trials} | {first:.2f} | {np.mean(asks):.3f} | {np.max(asks):.3f} "
        f"| {own * 1e3:.1f} | {memory:.0f} |"
    )


def fill(path: Path) -> None:
    """Makes the folder of a search of RUNS runs."""
    chosen = config(RUNS)
    folder = Folder.create(path, chosen.to_yaml())
    space = Space(chosen.space, chosen.target)
    runs = records(space, problem_of(chosen), costs_of(chosen), RUNS)
    folder.append([next(runs) for _ in range(RUNS)])


def read(arguments: list[str]) -> str:
    """A row: a command reads a folder; seconds of the clock, of the CPU, and the most memory."""
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, code, used = os.wait4(process.pid, 0)
    assert code == 0
    clock = time.perf_counter() - begin
    name = arguments[-1] if arguments[0] == "-c" else arguments[2]
    return f"| {name} | {clock:.1f} | {used.ru_utime + used.ru_stime:.1f} | {used.ru_maxrss / 1e3:.0f} |"


def asks() -> Iterator[str]:
    """Lines of the section."""
    yield (
        f"Searches that go on for {JOBS} jobs, which end at once; seconds of CPU. First: the first ask after a resume, "
        "at which the model is fitted; so it is once more whenever runs have grown by a fifth, which the other columns "
        "leave out. Own: the controller's work for a finished job, in ms."
    )
    yield from ("", "| sampler | trials | first ask, s | ask, s | longest ask, s | own, ms | memory, MB |")
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for trials in TRIALS:
        for sampler in SAMPLERS:
            yield apart(asked, sampler, trials)


def folders() -> Iterator[str]:
    """Lines of the section."""
    yield f"Commands that read a folder of {RUNS} runs; --help is the bare start, `import torch` the least they do."
    yield from ("", "| command | clock, s | CPU, s | memory, MB |", "| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as path:
        run = str(Path(path) / "run")
        apart(fill, Path(run))
        ours = (["-m", "nas", *arguments] for arguments in (["--help"], ["status", run], ["front", run]))
        yield read(["-m", "nas", "status", run]).replace("status", "status, the first reading")
        for command in (["-c", "import torch"], *ours):
            yield min((read(command) for _ in range(3)), key=lambda row: float(row.split("|")[3]))


def waiting() -> Iterator[str]:
    """Lines of the section."""
    yield (
        f"Searches with {ahead.PLACES} places whose runs last {ahead.SECONDS:g} s and end together, {ahead.JOBS} jobs, "
        f"Thompson's sampler: seconds of an ask, and milliseconds for which a place had nothing to do between two jobs."
    )
    yield from ("", "| trials | ask, s of the clock | mean, ms | median, ms | longest, ms |")
    yield "| --- | --- | --- | --- | --- |"
    for trials in (100, 1000):
        yield apart(ahead.waited, trials)


def quality() -> Iterator[str]:
    """Lines of the section."""
    yield (
        f"True hypervolume of the reported front after some layouts of {ahead.DEPTH} layers, two at a time, "
        f"over {PROBLEMS} problems of tests/benchmarks/samplers.py: the two that follow are asked for after the two "
        f"under way are told, or ahead, before they are. A search asks ahead from {AHEAD_FROM} layouts on."
    )
    yield ""
    yield from ahead.quality(PROBLEMS)


def apart(work: Callable, *arguments):
    """Works in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


SECTIONS = {"asks": asks, "folders": folders, "waiting": waiting, "quality": quality}


def main() -> None:
    """Runs the sections that are asked for, and puts them in the place of what the record says of them."""
    found = RESULTS.read_text().split("\n## ") if RESULTS.exists() else []
    texts = dict(part.split("\n", 1) for part in found[1:])
    for name in sys.argv[1:] or SECTIONS:
        lines = list(SECTIONS[name]())
        made = (
            f"Made by `OMP_NUM_THREADS=1 python -m tests.benchmarks.asking {name}` on {time.strftime('%Y-%m-%d')}, "
            f"{platform.machine()}, load {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores."
        )
        texts[name] = "\n".join(["", made, *lines]) + "\n"
        parts = [f"\n## {each}\n{texts[each]}" for each in SECTIONS if each in texts]
        RESULTS.write_text("# What the search costs beside training\n" + "".join(parts))
        print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
