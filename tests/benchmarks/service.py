"""What a service that holds much costs: reads of all kinds, and many clients that follow searches.

    python -m tests.benchmarks.service [--searches 1000] [--trials 500] [--reads 5000] [--made 20] [--streams 100]

Writes tests/benchmarks/results/service.md. The searches are those of tests/benchmarks/made_up.py, recorded and kept by
the code that does so for real ones; a few are made, each is copied many times. The server is a process of its own, on
SQLite, that runs nothing. A client reads one thing after the other, each of another search.
"""

import argparse
import http.client
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

import nas
from nas.results.folder import Folder
from nas.search.progress import Progress
from nas.search.setup import costs_of
from nas.service.database import Database
from nas.service.folders import Folders, Place, Process, Submission
from nas.service.kept import TRIALS, kept, trials_json
from nas.service.queue import Queue
from nas.service.settings import Settings
from search_space.space.space import Space
from tests.benchmarks.made_up import config, problem_of, records

RESULTS = Path(__file__).parent / "results" / "service.md"
PORT, DIFFERENT = 8790, 8
READS = {
    "the list": "/v1/searches?limit=100",
    "a search": "/v1/searches/{id}",
    "its front": "/v1/searches/{id}/front",
    "its trials": "/v1/searches/{id}/trials",
    "its log": "/v1/searches/{id}/log",
}
MADE = {
    "its best trade as YAML": "/v1/searches/{id}/layouts/knee",
    "its front for another use": "/v1/searches/{id}/front?set=target.batch=1",
    "its report, never read before": "/v1/searches/{id}/report",
}
"""What the record of the search has to be read for, unless it is in memory."""


def make(folder: Path, trials: int) -> Progress:
    """A search that has come to its end, in its folder; how far it is."""
    chosen = config(trials)
    made = Folder.create(folder, chosen.to_yaml())
    space = Space(chosen.space, chosen.target)
    made.append(list(records(space, problem_of(chosen), costs_of(chosen), trials)))
    found = nas.open(folder)
    summary, front = found.summary(), found.front()
    place = Place(folder)
    place.own.mkdir()
    kept(place, TRIALS, lambda: trials_json(found))
    (folder / "search.log").write_text("a line of what the search says\n" * 200)
    best = {"recall": float(front["recall"].max()), "decode_ms": float(front["decode_ms"].min())}
    return Progress(
        trials=trials, running=0, on_front=len(front), best=best, elapsed=summary.elapsed,
        seconds=None, most_trials=trials,
    )  # fmt: skip


def fill(settings: Settings, searches: int, trials: int) -> list[str]:
    """Puts the searches into the folder and the queue of a service; their identities."""
    folders, rng = Folders(settings.root), random.Random(0)
    database = Database(settings.database_url, settings.root).open()
    queue, found = Queue(database, settings), []
    templates = [folders.root / f".template-{number}" for number in range(min(DIFFERENT, searches))]
    progress = [asdict(make(template, trials)) for template in templates]
    for number in range(searches):
        identity, which = f"{rng.getrandbits(64):016x}", number % len(templates)
        place = folders.at(identity)
        shutil.copytree(templates[which], place.path)  # times too, so that summaries stay up to date
        asked = Submission(
            owner=f"user{number % 20}", name=f"search {number}", digest=identity, priority=0, cores=1, created=number
        )
        place.submission = asked
        place.process = Process(pid=1, born="", host="", record=0, progress=progress[which], ending="complete")
        queue.restore(identity, asked, "complete", progress[which])
        found.append(identity)
    for number in range(searches // 10):  # some that are under way, to be followed
        identity = f"{rng.getrandbits(64):016x}"
        asked = replace(asked, name=f"waiting {number}", digest=identity)
        folders.create(identity, config(trials).to_yaml(), asked)
        queue.submit(identity, asked)
    database.close()
    return found


@contextmanager
def server(settings: Settings) -> Iterator[int]:
    """The number of a process that serves, but runs nothing."""
    code = (
        "import sys, uvicorn; from nas.service.app import create_app; from nas.service.house import House; "
        "from nas.service.settings import Settings; "
        "app = create_app(House(Settings.model_validate_json(sys.argv[1])), run=False); "
        f"uvicorn.run(app, port={PORT}, log_level='warning', access_log=False, limit_concurrency=1000)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, settings.model_dump_json()])
    try:
        while True:
            assert process.poll() is None
            with suppress(OSError):
                get("/healthz")
                break
            time.sleep(0.2)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def get(path: str, connection: http.client.HTTPConnection | None = None) -> bytes:
    connection = connection or http.client.HTTPConnection("127.0.0.1", PORT, timeout=120)
    connection.request("GET", path)
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status == 200, (path, content)
    return content


def seconds_of(pid: int) -> float:
    """Seconds of CPU that a process used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_of(pid: int) -> float:
    """Megabytes that a process takes, with its share of what it has in common with others."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("no memory")


def read(paths: dict[str, str], identities: list[str], count: int, pid: int) -> Iterator[str]:
    """Lines of the record: `count` reads, drawn from the paths; of each kind one more is not counted, as it imports."""
    rng, connection = random.Random(1), http.client.HTTPConnection("127.0.0.1", PORT, timeout=600)
    clock: dict[str, list[float]] = {name: [] for name in paths}
    used: dict[str, list[float]] = {name: [] for name in paths}
    sizes: dict[str, int] = {}
    names = list(paths)
    for name in [*names, *(names[number % len(names)] for number in range(count))]:
        path, cpu, begin = paths[name].format(id=rng.choice(identities)), seconds_of(pid), time.perf_counter()
        sizes[name] = len(get(path, connection))
        clock[name].append(1e3 * (time.perf_counter() - begin))
        used[name].append(1e3 * (seconds_of(pid) - cpu))
    yield from (
        "| read | reads | median, ms | p99, ms | longest, ms | CPU of the server, ms | KB |",
        "| --- " * 7 + "|",
    )
    rows = {name: (clock[name][1:], used[name][1:]) for name in paths}
    every = [[value for row in rows.values() for value in row[which]] for which in (0, 1)]
    for name, (values, cpus) in {**rows, "all of these": every}.items():
        median, p99 = np.percentile(values, [50, 99])
        size = f"{sizes[name] / 1e3:.0f}" if name in sizes else ""
        times = f"{median:.1f} | {p99:.1f} | {max(values):.1f} | {np.mean(cpus):.1f}"
        yield f"| {name} | {len(values)} | {times} | {size} |"


def follow(count: int, pid: int) -> Iterator[str]:
    """Lines of the record."""
    waiting = [each["id"] for each in json.loads(get("/v1/searches?state=queued&limit=100"))["searches"]]
    before, heard, stop = memory_of(pid), [0] * count, threading.Event()

    def listen(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=120)
        connection.request("GET", f"/v1/searches/{waiting[number % len(waiting)]}/events")
        answer = connection.getresponse()
        while not stop.is_set() and answer.readline():
            heard[number] += 1

    threads = [threading.Thread(target=listen, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 120
    while min(heard) < 2 and time.monotonic() < end:
        time.sleep(0.2)
    assert min(heard) >= 2, f"{sum(each >= 2 for each in heard)} of {count} clients heard of their search"
    cpu, begin = seconds_of(pid), time.perf_counter()
    time.sleep(20)
    share = (seconds_of(pid) - cpu) / (time.perf_counter() - begin)
    yield (
        f"{count} clients follow {len(waiting)} searches: the server takes {memory_of(pid):.0f} MB ({before:.0f} MB "
        f"before, after the reads above) and {share:.0%} of a core."
    )
    stop.set()


def main(options: argparse.Namespace) -> None:
    """Makes the record."""
    with tempfile.TemporaryDirectory(prefix="nas-service-") as place:
        limits = {"requests": 10**9, "streams": 1000}
        settings = Settings.model_validate({"folder": place, "limits": limits, "gpus": 0, "cores": 1})
        identities = fill(settings, options.searches, options.trials)
        with server(settings) as pid:
            began = memory_of(pid)
            lines = [
                *read(READS, identities, options.reads, pid),
                "",
                *follow(options.streams, pid),
                "",
                "What the record of a search is read for:",
                "",
                *read(MADE, identities, options.made * len(MADE), pid),
                "",
                f"After that the server takes {memory_of(pid):.0f} MB.",
            ]
    command = " ".join(["python -m tests.benchmarks.service", *sys.argv[1:]])
    text = "\n".join(
        [
            "# A service that holds much",
            "",
            f"Made by `OMP_NUM_THREADS=1 {command}` on {time.strftime('%Y-%m-%d')}, {platform.machine()}, load "
            f"{os.getloadavg()[1]:.1f} on {os.cpu_count()} cores, nice {os.nice(0)}. {options.searches} searches of "
            f"{options.trials} trials, and a tenth as many that wait. Each read is of a search drawn at random, so "
            f"that most are not in memory; one client, one read at a time. The server began with {began:.0f} MB.",
            "",
            *lines,
            "",
        ]
    )
    options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for option, default in (("searches", 1000), ("trials", 500), ("reads", 5000), ("made", 20), ("streams", 100)):
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--out", type=Path, default=RESULTS)
    main(parser.parse_args())
