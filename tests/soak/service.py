"""A team at once: many searches by many clients to several servers on one database, under attack.

    python -m tests.soak.service [--searches 200] [--clients 20] [--servers 2] [--kills 4] [--cores 2] [--sqlite]

Meanwhile servers are killed and started again, and so are processes of searches, and the connections to PostgreSQL are
cut. Each search has to end once: none is lost, none runs twice.
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
from pathlib import Path

import nas
from nas.service.folders import Folders
from tests.conftest import TINY
from tests.soak.kills import check

PORT = 8750
ASKED = [*TINY, "search.trials=2", "search.seeds=1", "training.steps=20", "tracking.enabled=false"]


class Servers:
    """The processes of the service."""

    def __init__(self, folder: Path, database: str | None, count: int, cores: int):
        more = [f"database='{database}'"] if database else []
        common = [f"folder={folder}", f"cores={cores}", "lease=10", "limits.requests=100000", *more]
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


def use(number: int, searches: int, servers: int) -> list[str]:
    """A client: submits its searches with keys, each twice, and waits for their ends by whatever server answers."""
    client = nas.Client(f"http://127.0.0.1:{PORT + number % servers}")
    found = []
    for each in range(searches):
        key = f"{number}-{each}"
        first = patient(client.submit, "smoke", ASKED, name=key, key=key)
        assert patient(client.submit, "smoke", ASKED, name=key, key=key).identity == first.identity
        found.append(first)
    for search in found:
        while (state := patient(search.status)["state"]) not in ("complete", "failed"):
            time.sleep(1.0)
        assert state == "complete", patient(search.status)
    return [search.identity for search in found]


def attack(servers: Servers, folders: Folders, cut, kills: int, done: threading.Event) -> Counter:
    """Kills servers and searches, and cuts connections, in turn, until enough is killed."""
    generator, killed = random.Random(0), Counter[str]()
    while sum(killed.values()) < kills and not done.wait(generator.uniform(4.0, 12.0)):
        what = ("server", "search", "connections")[sum(killed.values()) % 3]
        if what == "server":
            servers.kill(generator.randrange(len(servers.running)))
        elif what == "connections":
            cut()
        else:
            alive = [place for place in map(folders.at, folders.identities()) if place.process and place.alive()]
            if not alive:
                continue
            os.killpg(generator.choice(alive).process.pid, signal.SIGKILL)
        killed[what] += 1
    return killed


def main(options: argparse.Namespace) -> None:
    """Runs all of it, and says what happened."""
    with tempfile.TemporaryDirectory(prefix="nas-soak-") as place:
        folder, url, cut = Path(place, "service"), None, lambda: None
        if not options.sqlite:
            import pgserver

            database = pgserver.get_server(Path(place, "postgresql"), cleanup_mode="stop")
            url = database.get_uri()
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            cut = lambda: database.psql(f"{others} AND datname IS NOT NULL;")  # noqa: E731
        begin = time.monotonic()
        servers, done = Servers(folder, url, options.servers, options.cores), threading.Event()
        try:
            with ThreadPoolExecutor(options.clients + 1) as threads:
                folders = Folders(folder)
                attacks = threads.submit(attack, servers, folders, cut, options.kills, done)
                share = -(-options.searches // options.clients)
                counts = [min(share, options.searches - number * share) for number in range(options.clients)]
                users = [threads.submit(use, n, count, options.servers) for n, count in enumerate(counts) if count > 0]
                try:
                    ended = [identity for user in users for identity in user.result()]
                finally:
                    done.set()
                killed = attacks.result()
            seconds = time.monotonic() - begin
            assert len(set(ended)) == len(ended) == options.searches == len(folders.identities())
            for identity in ended:
                found = check([], folders.at(identity).path)
                assert sum(record.result is not None for record in found) == 2, identity
            client = nas.Client(f"http://127.0.0.1:{PORT}")
            starts = [len([e for e in patient(client.open(i).status)["events"] if e["what"] == "taken"]) for i in ended]
            print(f"{options.searches} searches in {seconds:.0f} s; killed or cut: {dict(killed)}; "
                  f"each ended once, with {sum(starts)} starts of processes")  # fmt: skip
        finally:
            servers.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for option, default in (("searches", 200), ("clients", 20), ("servers", 2), ("kills", 4), ("cores", 2)):
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--sqlite", action="store_true")
    main(parser.parse_args())
