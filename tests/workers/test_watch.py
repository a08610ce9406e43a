"""What is left behind by a process that is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def run_and_kill(program: str, *arguments: object) -> str:
    """What a program prints that ends by killing itself."""
    program += "\nimport os, signal; sys.stdout.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    command = [sys.executable, "-c", "import sys\nfrom workers.watch import *\n" + program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout


def soon(condition) -> bool:
    for _ in range(100):
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    "how", ["afterwards(removal(sys.argv[1]))", "held = if_killed(removal(sys.argv[1])); held.__enter__()"]
)
def test_a_folder_goes_with_a_process_that_is_killed(tmp_path, how):
    folder = tmp_path / "a folder; with 'signs"
    folder.mkdir()
    (folder / "file").touch()
    run_and_kill(how, folder)
    assert soon(lambda: not folder.exists()) and tmp_path.exists()


def test_what_is_only_meant_for_a_kill_is_called_off(tmp_path):
    program = "import sys; from workers.watch import *\nwith if_killed(removal(sys.argv[1])): pass\nprint('over')"
    done = subprocess.run([sys.executable, "-c", program, tmp_path], check=True, capture_output=True)
    assert done.stdout == b"over\n"
    time.sleep(0.3)
    assert tmp_path.exists()


def runs(process: int) -> bool:
    state = Path(f"/proc/{process}/stat")
    return state.exists() and state.read_text().split(")")[1].split()[0] != "Z"


@pytest.mark.skipif(not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="needs Linux's list")
@pytest.mark.parametrize(("name", "killed"), [("sleep", True), ("ray::", False)])
def test_children_of_a_name_are_killed(name, killed):
    program = "import os, subprocess\nchild = subprocess.Popen(['sleep', '60'], stdout=-3, stderr=-3)\n"
    program += f"print(child.pid)\nafterwards(kill_children(os.getpid(), {name!r}))"
    child = int(run_and_kill(program))
    try:
        assert soon(lambda: not runs(child)) == killed
    finally:
        if not killed:
            os.kill(child, signal.SIGKILL)
