"""The built-in mixers on Triton: in the interpreter where there is no GPU."""

import copy

import pytest
import torch

pytest.importorskip("triton")

from search_space.parts.base import Dims
from search_space.testing.mixers import by_steps, seeded, tokens
from tests.mixers.test_contract import STACKS, tower

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("case", STACKS)
@torch.no_grad()
def test_a_prompt_and_then_steps(case, monkeypatch):
    mixer = seeded(lambda: tower(STACKS[case], Dims(width=32, heads=2))).float()
    x = tokens(21).float()
    expected, _ = mixer(x)
    monkeypatch.setenv("KERNELS_BACKEND", "triton")
    mixer = copy.deepcopy(mixer).to(DEVICE)
    prompt, state = mixer(x[:, :17].to(DEVICE))
    rest, _ = by_steps(mixer, x[:, 17:].to(DEVICE), state)
    torch.testing.assert_close(torch.cat([prompt, rest], 1).cpu(), expected, rtol=1e-4, atol=1e-5)
