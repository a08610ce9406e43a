"""Runs the commands of pages and writes down what they printed: `python -m tests.docs.transcript [--times] PAGE ...`.

A page has them in blocks of ```console, each command behind "$ ". All commands of a page run in one new folder, which
starts empty. With --times, a line "# 61 s" says how long a command took that took longer than three seconds.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.M | re.S)
LONG = 3.0
"""Seconds; quicker commands are not worth a line."""


def commands(text: str) -> list[str]:
    """The commands of a block: lines behind "$ ", each with the lines behind ">" that follow it."""
    found = re.findall(r"^\$ (.*(?:\n>(?: .*)?)*)$", text, re.M)
    return [re.sub(r"\n> ?", "\n", command) for command in found]


def run(command: str, folder: Path, times: bool) -> str:
    """What a command prints in a folder, as a line "$ ..." and its output.

    Raises:
        RuntimeError: it ended with another code than 0.
    """
    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    settings = {**os.environ, "PATH": here, "COLUMNS": "100", "NO_COLOR": "1"}
    settings.pop("MLFLOW_TRACKING_URI", None)
    began = time.monotonic()
    ended = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=settings, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    took = time.monotonic() - began
    if ended.returncode:
        raise RuntimeError(f"{command}: code {ended.returncode}\n{ended.stdout}")
    output = "\n".join(line.rstrip() for line in ended.stdout.splitlines())
    shown = "\n".join(f"> {line}".rstrip() for line in f"$ {command}".split("\n")).removeprefix("> ")
    return "\n".join(filter(None, [shown, output, f"# {took:.0f} s" if times and took > LONG else ""])) + "\n"


def remade(text: str, times: bool = False) -> str:
    """A page with the outputs of its commands made anew."""
    with TemporaryDirectory() as folder:
        return BLOCK.sub(lambda block: "".join(run(c, Path(folder), times) for c in commands(block[0])), text)


if __name__ == "__main__":
    for page in map(Path, [name for name in sys.argv[1:] if name != "--times"]):
        page.write_text(remade(page.read_text(), "--times" in sys.argv))
