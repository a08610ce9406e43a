"""A team at once: many searches by many clients to several servers on one database, under attack.

    python -m tests.soak.service [--searches 200] [--training 10] [--clients 20] [--servers 2] [--kills 8] [--cores 2]
                                 [--jobs] [--sqlite]

Most searches are tiny, in the local pool; `--training` of them train over one Ray that all share. With `--jobs` the
searches themselves are jobs of this Ray, too. Meanwhile servers are killed and started again, and so are processes of
searches and Ray's workers, and the connections to PostgreSQL are cut. Each search has to end once: none is lost, none
runs twice.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import nas
from nas.service.folders import Folders
from tests.conftest import TINY
from tests.nas.service.clusters import Cluster, below, cluster
from tests.soak.kills import check

PORT = 8750
ALL = [*(each for each in TINY if "workers" not in each), "search.seeds=1", "tracking.enabled=false"]


@dataclass(frozen=True)
class Asked:
    """What a client asks for: a search that comes to so many runs."""

    key: str
    overrides: list[str]
    runs: int


def tiny(number: int) -> Asked:
    """A search that takes a second."""
    return Asked(f"tiny-{number}", [*ALL, "workers.pool=local", "search.trials=2", "training.steps=20"], 2)


def training(number: int, address: str) -> Asked:
    """A search that trains over the cluster."""
    where = ["workers.pool=ray", "workers.count=1", f"workers.address='{address}'"]
    return Asked(f"training-{number}", [*ALL, *where, "search.trials=4", "training.steps=200", "proxy.width=32"], 4)


class Servers:
    """The processes of the service."""

    def __init__(self, folder: Path, count: int, cores: int, settings: list[str]):
        common = [f"folder={folder}", f"cores={cores}", "lease=10", "limits.requests=100000", *settings]
        self.commands = [
            [sys.executable, "-m", "nas", "serve", *common, f"port={PORT + number}"] for number in range(count)
        ]
        self.log = (folder.parent / "servers.log").open("a")
        self.running = [self._start(number) for number in range(count)]

    def _start(self, number: int) -> subprocess.Popen:
        return subprocess.Popen(self.commands[number], stdout=self.log, stderr=self.log, start_new_session=True)

    def kill(self, number: int) -> None:
        """Kills one and starts it again."""
        self.running[number].kill()
        self.running[number].wait()
        self.running[number] = self._start(number)

    def close(self) -> None:
        """Ends all of them."""
        for process in self.running:
            process.kill()
            process.wait()


def patient(ask, *arguments, **named):
    """Asks until a server answers."""
    for _ in range(600):
        try:
            return ask(*arguments, **named)
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(arguments)


def use(number: int, asked: list[Asked], servers: int) -> dict[str, int]:
    """A client: submits its searches with keys, each twice, and waits for their ends by whatever server answers.

    Returns:
        Identity of a search -> runs that it should have.
    """
    client = nas.Client(f"http://127.0.0.1:{PORT + number % servers}")
    found = {}
    for each in asked:
        named = {"name": each.key, "key": each.key}
        first = patient(client.submit, "smoke", each.overrides, **named)
        assert patient(client.submit, "smoke", each.overrides, **named).identity == first.identity
        found[first] = each.runs
    for search in found:
        while (state := patient(search.status)["state"]) not in ("complete", "failed"):
            time.sleep(1.0)
        assert state == "complete", patient(search.status)
    return {search.identity: runs for search, runs in found.items()}


def attack(
    servers: Servers, folders: Folders, ray: Cluster | None, cut, kills: int, done: threading.Event
) -> Counter[str]:
    """Kills servers, searches and Ray's workers, and cuts connections, in turn, until enough is killed."""
    kinds = ["server", "search", "connections", *["worker"] * (ray is not None)]
    generator, killed = random.Random(0), Counter[str]()
    while killed.total() < kills and not done.wait(generator.uniform(4.0, 12.0)):
        what = kinds[killed.total() % len(kinds)]
        if what == "server":
            servers.kill(generator.randrange(len(servers.running)))
        elif what == "connections":
            cut()
        elif what == "worker":
            assert ray is not None
            workers = [pid for pid in below(ray.process.pid) if _named(pid).startswith("ray::_run")]
            if not workers:
                continue  # none trains just now
            os.kill(generator.choice(workers), signal.SIGKILL)
        else:
            alive = [place for place in map(folders.at, folders.identities()) if place.process and place.alive()]
            if not alive:
                continue
            os.killpg(generator.choice(alive).process.pid, signal.SIGKILL)
        killed[what] += 1
    return killed


def _named(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def main(options: argparse.Namespace) -> None:
    """Runs all of it, and says what happened."""
    with tempfile.TemporaryDirectory(prefix="nas-soak-") as place, ExitStack() as stack:
        folder, settings, cut = Path(place, "service"), [], lambda: None
        ray = stack.enter_context(cluster(options.cores)) if options.training or options.jobs else None
        asked = [tiny(number) for number in range(options.searches - options.training)]
        if ray is not None:
            asked += [training(number, ray.address) for number in range(options.training)]
            settings.append(f"allow.addresses=['{ray.address}']")
            settings += [f"jobs={ray.dashboard}"] * options.jobs
        random.Random(0).shuffle(asked)
        if not options.sqlite:
            import pgserver

            database = pgserver.get_server(Path(place, "postgresql"), cleanup_mode="stop")
            settings.append(f"database='{database.get_uri()}'")
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            cut = lambda: database.psql(f"{others} AND datname IS NOT NULL;")  # noqa: E731
        begin = time.monotonic()
        servers, done = Servers(folder, options.servers, options.cores, settings), threading.Event()
        try:
            with ThreadPoolExecutor(options.clients + 1) as threads:
                folders = Folders(folder)
                attacks = threads.submit(attack, servers, folders, ray, cut, options.kills, done)
                shares = [asked[number :: options.clients] for number in range(options.clients)]
                users = [threads.submit(use, number, share, options.servers) for number, share in enumerate(shares)]
                ended: dict[str, int] = {}
                try:
                    for user in users:
                        ended |= user.result()
                finally:
                    done.set()
                killed = attacks.result()
            seconds = time.monotonic() - begin
            assert len(ended) == options.searches == len(folders.identities())
            for identity, runs in ended.items():
                found = check([], folders.at(identity).path)
                assert sum(record.result is not None for record in found) == runs, identity
            client = nas.Client(f"http://127.0.0.1:{PORT}")
            starts = [len([e for e in patient(client.open(i).status)["events"] if e["what"] == "taken"]) for i in ended]
            over = f", {options.training} of them over one Ray" * bool(options.training)
            print(f"{options.searches} searches{over} in {seconds:.0f} s; killed or cut: {dict(killed)}; "
                  f"each ended once, with {sum(starts)} starts of processes")  # fmt: skip
        finally:
            servers.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    counts = {"searches": 200, "training": 10, "clients": 20, "servers": 2, "kills": 8, "cores": 2}
    for option, default in counts.items():
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--jobs", action="store_true")
    parser.add_argument("--sqlite", action="store_true")
    main(parser.parse_args())
