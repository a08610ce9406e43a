"""More draws than the fast suite has: 10,000 in a process of its own, 300 through the command line, 10,000 over HTTP.

    python -m tests.soak.fuzz [draws in the process] [draws through the command line] [requests]

Each process has limits of the operating system: on memory and on time.
"""

import os
import resource
import subprocess
import sys
import tempfile

from hypothesis import HealthCheck, given, settings

from tests.conftest import TINY
from tests.nas import fuzzing

MEMORY = 8 * 2**30
"""Bytes of address space: torch and its threads reserve most of it; what is used is looked at in the tests."""
SECONDS = 60


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def in_process(draws: int) -> None:
    environment = {**os.environ, "FUZZ_DRAWS": str(draws)}
    command = [sys.executable, "-m", "pytest", "-q", "--timeout", "36000", "tests/nas/test_fuzz.py"]
    subprocess.run(command, env=environment, preexec_fn=limited, check=True)


def over_http(requests: int) -> None:
    environment = {**os.environ, "FUZZ_REQUESTS": str(requests)}
    command = [sys.executable, "-m", "pytest", "-q", "-s", "tests/nas/service/test_fuzz.py"]
    subprocess.run(command, env=environment, preexec_fn=limited, check=True)


def through_the_command_line(draws: int) -> None:
    codes: dict[int, int] = {}

    @settings(max_examples=draws, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(fuzzing.overrides)
    def draw(changes: list[str]) -> None:
        changes = [change.replace("\0", "") for change in changes]  # no argument can hold it
        with tempfile.TemporaryDirectory() as folder:
            # Its own changes come first, so that what runs is small.
            command = [sys.executable, "-m", "nas", "mixers", "--config", "smoke", "--", *TINY, *changes]
            done = subprocess.run(
                [argument.encode(errors="surrogatepass") for argument in command],
                capture_output=True,
                timeout=SECONDS,
                preexec_fn=limited,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": os.getcwd()},
                check=False,
            )
        codes[done.returncode] = codes.get(done.returncode, 0) + 1
        said = done.stderr.decode(errors="replace")
        assert done.returncode in (0, 2) and "Traceback" not in said, (changes, said)
        if done.returncode == 2:
            assert said.startswith("nas: ") and said.count("\n") == 1, (changes, said)

    draw()
    print(f"through the command line: {codes}")


if __name__ == "__main__":
    more = [int(argument) for argument in sys.argv[1:]]
    in_process(more[0] if more else 10_000)
    through_the_command_line(more[1] if len(more) > 1 else 300)
    over_http(more[2] if len(more) > 2 else 10_000)
