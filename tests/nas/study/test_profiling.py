import json

import pytest

from search_space.cost.measured import load_profile
from tests.nas.conftest import nas

SMALL = ["target.width=32", "target.heads=2", "target.mlp_width=64", "target.vocabulary=50", "target.layers=3"]
QUICK = ["--device", "cpu", "--batches", "1,2", "--contexts", "8,32", "--prompts", "8,16"]
SPACE = "space.choices=[attention, gated_deltanet, sliding_window, shared_attention, shared_window]"
WINDOWS = "target.options={sliding_window: {window: 16}, shared_window: {window: 16}}"


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    path = tmp_path_factory.mktemp("profile") / "profile.json"
    result = nas("profile", *SMALL, *QUICK, "--check", 2, "-o", path, SPACE, WINDOWS, "search.seed=1")
    assert result.exit_code == 0, result.output
    assert "whole models" in result.stdout
    again = nas("profile", *SMALL, *QUICK, "-o", path)
    assert again.exit_code == 2 and "a new file" in again.stderr
    return path


def test_every_part_is_measured(profile):
    found = load_profile(str(profile))
    readers = {"shared_attention", "shared_window(window=16)"}  # they keep nothing of their own
    assert set(found.parts) == {"swiglu", "ends", "attention", "gated_deltanet", "sliding_window(window=16)", *readers}
    assert not any(found.parts[name].state_bytes for name in readers)
    for part in found.parts.values():
        assert all(ms > 0 for *_, ms in part.decode + part.prefill)
    attention, local = (dict(found.parts[name].state_bytes) for name in ("attention", "sliding_window(window=16)"))
    assert attention == {8: 8 * 2 * 32 * 4, 32: 32 * 2 * 32 * 4} and local == {8: 8 * 2 * 32 * 4, 32: 16 * 2 * 32 * 4}
    assert len({row["layout"] for row in found.check}) == 2
    assert all(row["measured_ms"] > 0 and row["sum_ms"] > 0 and row["roofline_ms"] > 0 for row in found.check)


def test_a_search_uses_it(profile, tmp_path, tiny):
    arguments = [
        *tiny,
        *SMALL,
        SPACE,
        WINDOWS,
        f"target.profile={profile}",
        "search.trials=3",
        "tracking.enabled=false",
    ]
    result = nas("search", "--config", "smoke", "--out", tmp_path / "run", *arguments, "search.published=false")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "run" / "front.json").read_text())
    assert "measured on CPU" in found["target"] and found["points"]


@pytest.mark.parametrize(
    "arguments, key",
    [
        (["--batches", "1,x"], "--batches"),
        (["--contexts", "0"], "--contexts"),
        (["--prompts", ""], "--prompts"),
        (["-o", "/no/such/folder/p.json"], "-o"),
        (["target.profile=nowhere.json"], "target.profile"),
    ],
)
def test_bad_input(arguments, key):
    result = nas("profile", *SMALL, *QUICK, *arguments)
    assert result.exit_code == 2 and key in result.stderr and "expected" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_profile_of_other_sizes(profile, tmp_path):
    result = nas("search", "--config", "smoke", "--out", tmp_path / "run", f"target.profile={profile}")
    assert result.exit_code == 2 and "target.profile" in result.stderr and "width 2048" in result.stderr
    assert not (tmp_path / "run").exists()
