"""Whole searches: in-process, over Ray, killed and resumed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import nas as front_door
from nas.config import load
from nas.results.folder import Folder
from nas.search.setup import trials_of
from search_space.layouts.layout import Layout
from tests.nas.conftest import QUIET, nas


def test_a_search_writes_all_that_it_promises(finished):
    names = {p.name for p in finished.iterdir()}
    assert {"config.yaml", "runs.jsonl", "front.svg", "front.json", "layouts"} <= names
    trials = trials_of(Folder(finished).read(), load(finished / "config.yaml"))
    assert len(trials) == 18 and all(t.state == "complete" for t in trials)
    assert len({t.layout for t in trials}) == 18
    assert {t.name for t in trials} > {"search", "Transformer"}
    assert max(len(t.results) for t in trials) == 2, "candidates for the front get further seeds"


def test_a_front_for_another_use(finished):
    chat = ["target.batch=1", "target.context=64"]
    here, there = (json.loads(nas("front", finished, "--format", "json", *o).stdout)["points"] for o in ([], chat))
    costs = {p["trial"]: p["objectives"] for p in here}
    assert all(p["objectives"]["decode_ms"] < costs[p["trial"]]["decode_ms"] for p in there if p["trial"] in costs)
    assert nas("export", finished, *chat).exit_code == 0
    refused = nas("front", finished, "training.steps=5")
    assert refused.exit_code == 2 and "training.steps" in refused.stderr


def test_front_formats_agree(finished):
    found = json.loads(nas("front", finished, "--format", "json").stdout)
    assert [o["name"] for o in found["objectives"]] == ["recall", "decode_ms"]
    points = found["points"]
    assert points and points == sorted(points, key=lambda p: p["objectives"]["decode_ms"])
    for point in points:
        assert {"trial", "layout", "objectives", "spread", "seeds", "confidence"} <= point.keys()
        assert len(Layout.from_dict(point["layout"]).layers) == 4
    recalls = [p["objectives"]["recall"] for p in points]
    assert recalls == sorted(recalls)
    rows = nas("front", finished, "--format", "csv").stdout.splitlines()
    on_front = [row for row in rows[1:] if row.split(",")[2] == "true"]
    assert [int(row.split(",")[0]) for row in on_front] == [p["trial"] for p in points]
    table = nas("front", finished).stdout
    assert all(p["label"] in table for p in points)


def test_status(finished):
    out = nas("status", finished).stdout
    assert "18 trials (18 complete, 0 diverged, 0 failed)" in out and "not running" in out


@pytest.mark.parametrize("pick", ["knee", "0", "all"])
def test_exports_load_back(finished, tmp_path, pick):
    place = tmp_path / ("all" if pick == "all" else "layout.yaml")
    assert nas("export", finished, "--pick", pick, "--layers", 12, "-o", place).exit_code == 0
    files = list(place.iterdir()) if pick == "all" else [place]
    assert files and all(len(Layout.load(file).layers) == 12 for file in files)


def test_a_folder_is_exported_as_one(finished, tmp_path):
    refused = nas("export", finished, "--format", "hf")
    assert refused.exit_code == 2 and refused.stderr.startswith("nas: -o=nothing: expected a folder")
    assert nas("export", finished, "--format", "hf", "--layers", 12, "-o", tmp_path / "model").exit_code == 0
    assert len(json.loads((tmp_path / "model" / "config.json").read_text())["layout"]["layers"]) == 12
    assert "## How it was found" in (tmp_path / "model" / "README.md").read_text()
    assert nas("export", finished, "--format", "hf", "--pick", "all", "-o", tmp_path / "all").exit_code == 0
    assert all((place / "config.json").exists() for place in (tmp_path / "all").iterdir())
    refused = nas("export", finished, "--resize", "both", "--layers", 12)
    assert refused.exit_code == 2 and refused.stderr.startswith("nas: --resize=both: expected")


def test_the_written_configuration_repeats_the_search(finished, tmp_path):
    assert nas("search", "--config", finished / "config.yaml", "--out", tmp_path / "again").exit_code == 0
    first, second = (Folder(f).read() for f in (finished, tmp_path / "again"))
    assert [(r.layout, r.result.recall) for r in first] == [(r.layout, r.result.recall) for r in second]


def test_evaluate_gives_the_number_of_the_search(finished):
    record = Folder(finished).read()[0]
    file = finished / "layouts" / "check.yaml"
    file.write_text(record.layout.to_yaml())
    result = nas("evaluate", file, "--config", finished / "config.yaml")
    file.unlink()
    assert json.loads(result.stdout)["recall"] == record.result.recall


def test_resume_prolongs_a_finished_search(finished, tmp_path, tiny):
    folder = tmp_path / "run"
    assert nas("search", "--config", "smoke", "--out", folder, *tiny, *QUIET, "search.trials=3").exit_code == 0
    before = Folder(folder).read()
    assert nas("resume", folder, "search.trials=5").exit_code == 0
    after = Folder(folder).read()
    assert after[: len(before)] == before
    assert len({r.trial for r in after}) == 5
    assert load(folder / "config.yaml").search.trials == 5
    assert nas("resume", folder).exit_code == 0
    assert Folder(folder).read() == after


def attend_to_ctrl_c():
    """Undoes what a background shell does to its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(folder, *overrides):
    from tests.conftest import TINY

    arguments = ["search", "--config", "smoke", "--out", str(folder), *TINY, *QUIET, *overrides]
    process = subprocess.Popen(
        [sys.executable, "-m", "nas", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=attend_to_ctrl_c,
    )
    runs = folder / "runs.jsonl"
    deadline = time.monotonic() + 60
    while not (runs.exists() and runs.read_text().count("\n") >= 2):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminate"])
def test_an_interrupted_search_goes_on(tmp_path, sign):
    folder = tmp_path / "run"
    process = start(folder, "search.trials=100", "search.seeds=1")
    process.send_signal(sign)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "nas resume" in error.decode() and "Traceback" not in error.decode()
    done = Folder(folder).read()
    assert (folder / "front.svg").exists()
    assert nas("resume", folder, f"search.trials={len(done) + 2}").exit_code == 0
    assert Folder(folder).read()[: len(done)] == done


def test_a_killed_search_loses_no_run_that_ended(tmp_path):
    folder = tmp_path / "run"
    process = start(folder, "search.trials=100", "search.seeds=1")
    process.kill()
    process.wait()
    with (folder / "runs.jsonl").open("a") as file:
        file.write('{"trial": 99, "origin": nul')  # as if killed while writing
    done = Folder(folder).read()
    assert len(done) >= 2
    assert nas("resume", folder, f"search.trials={len(done) + 2}").exit_code == 0
    after = Folder(folder).read()
    assert after[: len(done)] == done and len(after) == len(done) + 2


def test_seeds_of_a_layout_train_together(tmp_path, tiny):
    """In jobs of two; killed within the record of one, it loses no seed that is whole there, and does none twice."""
    folder = tmp_path / "run"
    together = ["search.seeds=3", "search.seeds_per_job=2"]
    assert (
        nas("search", "--config", "smoke", "--out", folder, *tiny, *QUIET, "search.trials=2", *together).exit_code == 0
    )
    runs = folder / "runs.jsonl"
    lines = runs.read_text().splitlines()
    runs.write_text("\n".join(lines[:3]) + "\n" + lines[0][:40])
    done = Folder(folder).read()
    assert [(r.trial, r.result.seed) for r in done][:2] == [(0, 0), (0, 1)]
    assert done[0].elapsed == done[1].elapsed and done[0].result.seconds == done[1].result.seconds
    assert nas("resume", folder, "search.trials=3").exit_code == 0
    after = Folder(folder).read()
    assert after[:3] == done
    seeds = [sorted(r.result.seed for r in after if r.trial == trial) for trial in range(3)]
    assert all(found in ([0], [0, 1], [0, 1, 2]) for found in seeds) and seeds[2][:2] == [0, 1]
    assert len(after) > 5, "candidates for the front get further seeds"


def test_every_layout_gets_every_seed(tmp_path, tiny):
    """Whatever was done before it was stopped: each seed once, and a run that failed counts as one."""
    folder = tmp_path / "run"
    every = ["search.reseed_above=0", "search.seeds=3", "search.trials=5"]
    assert nas("search", "--config", "smoke", "--out", folder, *tiny, *QUIET, *every).exit_code == 0
    runs = folder / "runs.jsonl"
    whole = [json.loads(line) for line in runs.read_text().splitlines()]
    assert len(whole) == 5 * 3
    kept = [r for r in whole if (r["trial"], r["seed"]) not in {(0, 1), (1, 0)}]
    failed = next(r for r in whole if (r["trial"], r["seed"]) == (1, 0))
    kept.append({**failed, "result": None, "failure": {"of": "layout", "error": "lost"}})
    runs.write_text("".join(json.dumps(r) + "\n" for r in kept))
    assert nas("resume", folder).exit_code == 0
    seeds = sorted((r.trial, r.seed) for r in Folder(folder).read() if r.result)
    assert seeds == sorted((r["trial"], r["seed"]) for r in whole if (r["trial"], r["seed"]) != (1, 0))


def test_nothing_published_is_tried_unless_wanted(tmp_path, tiny):
    folder = tmp_path / "run"
    wanted = ["search.published=false", "search.trials=3"]
    assert nas("search", "--config", "smoke", "--out", folder, *tiny, *QUIET, *wanted).exit_code == 0
    assert all(r.origin is None for r in Folder(folder).read())


def test_a_used_up_space_ends_the_search(tmp_path, tiny):
    folder = tmp_path / "run"
    small = ["space.layers=2", "space.choices=[attention, gla]", "search.trials=99", "search.seeds=1"]
    assert nas("search", "--config", "smoke", "--out", folder, *tiny, *QUIET, *small).exit_code == 0
    assert len({r.layout for r in Folder(folder).read()}) == 4


def test_seeds_trained_together_score_as_they_do_alone(finished, tmp_path, tiny):
    overrides = [*tiny, *QUIET, "search.trials=2", "search.seeds=2", "search.seeds_per_job=2"]
    assert nas("search", "--config", "smoke", "--out", tmp_path / "run", *overrides).exit_code == 0
    alone = {(r.layout, r.result.seed): r.result for r in Folder(finished).read()}
    found = [(alone.get((r.layout, r.result.seed)), r.result) for r in Folder(tmp_path / "run").read()]
    assert len(found) == 4 and sum(one is not None for one, _ in found) >= 2
    assert all(other.loss == pytest.approx(one.loss, abs=1e-4) for one, other in found if one)


def test_a_running_search_is_left_alone(tmp_path):
    folder = tmp_path / "run"
    process = start(folder, "search.trials=100", "search.seeds=1")
    try:
        result = nas("resume", folder)
        assert result.exit_code == 2
        assert "running" in nas("status", folder).stdout
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def test_a_cluster_without_gpus_is_told_apart(tmp_path, tiny):
    folder = tmp_path / "run"
    local = [o for o in tiny if not o.startswith("workers")]
    result = nas("search", "--config", "smoke", "--out", folder, *local, *QUIET, "workers.gpus=64")
    assert result.exit_code == 2 and not folder.exists()
    assert result.stderr.splitlines()[-1].startswith("nas: workers.gpus=64")


def test_a_search_over_ray(tmp_path, tiny):
    folder = tmp_path / "run"
    local = [o for o in tiny if not o.startswith("workers")]
    overrides = [*local, *QUIET, "search.trials=6", "search.seeds=1", "workers.count=2"]
    handler = signal.getsignal(signal.SIGTERM)
    front_door.search(load("smoke", overrides), out=folder)
    assert signal.getsignal(signal.SIGTERM) == handler, "Ray sets one of its own"
    config = load(folder / "config.yaml")
    trials = trials_of(Folder(folder).read(), config)
    assert len(trials) == 6 and all(t.state == "complete" for t in trials)
    # The same layout and seed give the same number in another process.
    alone = (
        json.loads(
            nas(
                "evaluate", folder / "layouts" / f"trial_{trials[-1].number}.yaml", "--config", folder / "config.yaml"
            ).stdout
        )
        if trials[-1].on_front
        else None
    )
    assert alone is None or alone["recall"] == trials[-1].results[0].recall
