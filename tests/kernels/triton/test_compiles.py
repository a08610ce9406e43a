"""Every kernel compiles for GPUs and fits on them, which needs no GPU."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WHOLE = "WHOLE" in os.environ
"""Whether every configuration is compiled, and for older GPUs too, as in .ci/run."""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.timeout(1800)
def test_every_kernel_compiles_and_fits():
    # In a process of its own: in this one kernels are interpreted.
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.kernels.triton.compiling", *([] if WHOLE else ["--fast"])]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if run.returncode:
        pytest.fail(run.stdout[-5000:] + run.stderr[-5000:], pytrace=False)
