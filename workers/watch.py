"""Clears up after this process, also when it is killed."""

import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_kept: list[subprocess.Popen] = []
"""Shells that wait for the end of this process. Their pipes close with it; no child inherits them."""


def afterwards(command: str) -> None:
    """Lets a shell run `command` as soon as this process has ended, however it ends."""
    _kept.append(_wait_for_the_end(command))


@contextmanager
def if_killed(command: str) -> Iterator[None]:
    """Lets a shell run `command` if this process ends, however it ends, while the context lasts."""
    shell = _wait_for_the_end(command)
    try:
        yield
    finally:
        shell.kill()
        shell.communicate()


def _wait_for_the_end(command: str) -> subprocess.Popen:
    return subprocess.Popen(
        ["/bin/sh", "-c", f"read end; {command}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def removal(folder: str | Path) -> str:
    """The command that removes a folder, with all that is in it."""
    return f"rm -rf -- {shlex.quote(str(folder))}"


def kill_children(process: int, name: str) -> str:
    """The command that kills the present children of a process, as far as they are there.

    Args:
        process: its number.
        name: what the names of its children begin with, since a number may stand for another process by then.
    """
    children = Path(f"/proc/{process}/task/{process}/children")
    numbers = children.read_text() if children.exists() else ""
    return f'for p in {numbers}; do case "$(cat /proc/$p/comm)" in {name}*) kill -9 $p;; esac; done'
