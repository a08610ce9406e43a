"""Kills searches, over and over: nothing that was recorded is lost or doubled, and each search comes to its end.

    python -m tests.soak.kills [--local 100] [--ray 20] [--raylet 10] [--gcs 5]

The counts say how often the driver of a search in the local pool is killed, that of a search over Ray, and Ray's own
processes under a search that goes on. Where the driver is killed, the search is resumed, until the kills are spent.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from nas.results.folder import Folder
from nas.results.records import RunRecord
from tests.conftest import TINY

PATIENCE = 300
"""Seconds without a new record after which a search counts as hanging."""


def command(folder: Path, pool: str, trials: int) -> list[str]:
    """Begins the search, or goes on with it."""
    if (folder / "config.yaml").exists():
        return [sys.executable, "-m", "nas", "resume", str(folder)]
    tiny = [each for each in TINY if not each.startswith("workers")]
    settings = [f"workers.pool={pool}", "workers.count=2" if pool == "ray" else "workers.count=1"]
    budget = [f"search.trials={trials}", "search.seeds=1", "space.layers=6", "tracking.enabled=false"]
    overrides = [*tiny, "training.steps=40", *settings, *budget]
    return [sys.executable, "-m", "nas", "search", "--config", "smoke", "--out", str(folder), *overrides]


def start(folder: Path, pool: str, trials: int) -> subprocess.Popen:
    """The search, in a process group of its own."""
    log = (folder.parent / "log").open("a")
    return subprocess.Popen(command(folder, pool, trials), stdout=log, stderr=log, start_new_session=True)


def records(folder: Path) -> list[RunRecord]:
    """What is on record; a last line that a kill cut off is no record."""
    return Folder(folder).read() if (folder / "runs.jsonl").exists() else []


def lines(folder: Path) -> int:
    """How many runs are on record."""
    runs = folder / "runs.jsonl"
    return runs.read_bytes().count(b"\n") if runs.exists() else 0


def check(before: list[RunRecord], folder: Path) -> list[RunRecord]:
    """Raises where a record was lost or changed, or a run is there twice."""
    after = records(folder)
    assert after[: len(before)] == before, "records were lost or changed"
    runs = Counter((r.trial, r.seed) for r in after if r.result)
    assert all(count == 1 for count in runs.values()), f"doubled: {[k for k, n in runs.items() if n > 1]}"
    layouts = {r.trial: r.layout for r in after}
    assert len(set(layouts.values())) == len(layouts), "a layout has two numbers"
    return after


def end(process: subprocess.Popen, folder: Path) -> None:
    """Waits until the search ends by itself; raises where it fails, or nothing is recorded for long."""
    known, last = lines(folder), time.monotonic()
    while process.poll() is None:
        time.sleep(0.2)
        if lines(folder) > known:
            known, last = lines(folder), time.monotonic()
        assert time.monotonic() < last + PATIENCE, f"{known} records, and none more for {PATIENCE} s"
    assert process.returncode == 0, (folder.parent / "log").read_text()[-2000:]


def finish(folder: Path, pool: str, trials: int) -> Counter:
    """Lets the search come to its end; returns how its runs ended."""
    end(start(folder, pool, trials), folder)
    after = check([], folder)
    found = Counter("result" if r.result else f"failure of the {r.failure.of}" for r in after)  # type: ignore[union-attr]
    assert found["result"] == trials, found
    return found


def kill_drivers(pool: str, kills: int, generator: random.Random) -> Counter:
    """Kills the driver that often, at any time from its first second on."""
    with tempfile.TemporaryDirectory() as place:
        folder, trials, done = Path(place, "run"), 2 * kills + 6, 0
        before: list[RunRecord] = []
        while done < kills:
            process, known = start(folder, pool, trials), lines(folder)
            # After a record or two, so that the search gets on; then at any moment of what comes next.
            wanted, end = known + generator.choice((0, 1, 1, 2)), time.monotonic() + 120
            while lines(folder) < wanted and process.poll() is None and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(generator.random() * (3.0 if wanted == known else 0.3))
            if process.poll() is not None:
                break
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            done += 1
            if (folder / "config.yaml").exists():
                before = check(before, folder)
        found = finish(folder, pool, trials)
        found["kills"] = done
        return found


def kill_ray(name: str, kills: int, generator: random.Random) -> Counter:
    """Kills a process of Ray that often under a search, which is to go on by itself."""
    with tempfile.TemporaryDirectory() as place:
        folder, trials, done = Path(place, "run"), 6 * kills + 6, 0
        process = start(folder, "ray", trials)
        while done < kills and process.poll() is None:
            known = lines(folder)
            while lines(folder) < known + 2 and process.poll() is None:
                time.sleep(0.05)
            time.sleep(generator.random())
            found = subprocess.run(["pgrep", "-P", str(process.pid), "-x", name], capture_output=True, check=False)
            for child in found.stdout.split():
                os.kill(int(child), signal.SIGKILL)
                done += 1
        end(process, folder)
        before = check([], folder)
        ended = finish(folder, "ray", trials)
        assert records(folder) == before, "nothing was left to do"
        ended["kills"] = done
        return ended


def main() -> None:
    """Runs what is asked for, and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, count in (("local", 100), ("ray", 20), ("raylet", 10), ("gcs", 5)):
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    counts = parser.parse_args()
    print(f"seed {counts.seed}", flush=True)
    generator = random.Random(counts.seed)
    for name, kill in (
        ("local", lambda n: kill_drivers("local", n, generator)),
        ("ray", lambda n: kill_drivers("ray", n, generator)),
        ("raylet", lambda n: kill_ray("raylet", n, generator)),
        ("gcs", lambda n: kill_ray("gcs_server", n, generator)),
    ):
        if getattr(counts, name):
            begin = time.monotonic()
            found = kill(getattr(counts, name))
            print(f"{name}: {dict(found)} in {time.monotonic() - begin:.0f} s; nothing lost or doubled", flush=True)


if __name__ == "__main__":
    main()
