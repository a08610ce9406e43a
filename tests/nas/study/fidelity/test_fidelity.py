"""The benchmark as a whole, by few layouts of few steps."""

import json
import shutil

import pytest

import nas
from nas.results.folder import Folder
from nas.study.fidelity.report import Part, make_report
from nas.study.fidelity.scores import Scores
from search_space.errors import InputError
from search_space.layouts.layout import Layout
from tests.conftest import TINY
from tests.nas.conftest import nas as command
from tests.nas.study.fidelity.examples import csv_of, plan_of, statement, tiny_config
from workers.training import Result

ARGUMENTS = ["--config", "smoke", *TINY]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fidelity")
    result = command("fidelity", csv_of(folder), "--out", folder / "out", *ARGUMENTS)
    assert result.exit_code == 0, result.output
    return folder / "out", result


def test_what_is_written(trained):
    folder, result = trained
    assert "mixer" in result.stdout and "count" in result.stdout and "Traceback" not in result.output
    found = json.loads((folder / "report.json").read_text())
    about = found["about"]
    assert (about["statements"], about["clear"], about["mapped"], about["judged"]) == (6, 5, 4, 4)
    assert (about["runs"], about["seeds"]) == (5, 5)
    assert found["unknown_mixers"] == {"comba": 1} and list(found["unmapped"]) == ["comba*12"]
    mixer, count, by_loss = found["axes"]
    assert by_loss["name"] == "count-loss" and by_loss["baselines"]["attention count"]["value"] == 1.0
    assert (mixer["name"], mixer["statements"], mixer["source_count"]) == ("mixer", 2, 2)
    assert mixer["proxies"]["value"] == 0.5, "the two sources say the opposite"
    assert count["baselines"]["attention count"]["value"] == 1.0 and count["proxies"]["value"] in (0.0, 0.5, 1.0)
    page, figure = (folder / "report.md").read_text(), (folder / "fidelity.svg").read_text()
    assert "comba*12" in page and "fidelity.svg" in page and "arXiv 2507.06457" in page
    assert "proxies" in figure and "attention count" in figure and "2 statements, 2 sources *" in figure


def test_the_report_alone_trains_nothing(trained, monkeypatch):
    folder, first = trained
    records = [(folder / place / "runs.jsonl").read_bytes() for place in (".", "by_loss")]
    monkeypatch.setattr("nas.study.training.open_pool", lambda workers: pytest.fail("workers were started"))
    for more in (["--report", "--seeds", 3], []):
        again = command("fidelity", folder / "statements.csv", "--out", folder, *ARGUMENTS, *more)
        assert again.exit_code == 0 and again.stdout == first.stdout
    assert [(folder / place / "runs.jsonl").read_bytes() for place in (".", "by_loss")] == records


def test_it_goes_on_where_it_was_stopped(trained, tmp_path):
    folder, _ = trained

    def stop(now):
        if now.done == 1:
            raise KeyboardInterrupt

    config, source = tiny_config(), csv_of(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        nas.fidelity(source, config, out=tmp_path / "out", on_progress=stop)
    record = tmp_path / "out" / "runs.jsonl"
    first = record.read_text()
    assert first.count("\n") == 1
    with record.open("a") as file:
        file.write('{"cut off')
    told = []
    report = nas.fidelity(source, config, out=tmp_path / "out", on_progress=told.append)
    assert record.read_text().startswith(first) and record.read_text().count("\n") == 3
    assert told[0].total == 2 and (told[-1].done, told[-1].total) == (2, 2)
    assert report.about["judged"] == 4
    whole = json.loads((folder / "report.json").read_text())
    assert [run["recall"] for run in report.runs] == [run["recall"] for run in whole["runs"]]


def test_before_anything_is_trained(tmp_path):
    report = nas.fidelity(csv_of(tmp_path), tiny_config(), out=tmp_path / "out", train=False)
    assert report.about["judged"] == 0 and [axis.name for axis in report.axes] == ["mixer", "count", "count-loss"]
    assert all(axis.proxies is None and axis.statements for axis in report.axes)
    assert report.axes[1].baselines["attention count"].value == 1.0
    assert (tmp_path / "out" / "fidelity.svg").exists()


def test_seeds_are_refined(trained, tmp_path):
    report = nas.fidelity(csv_of(tmp_path), tiny_config(), out=tmp_path / "out", seeds=2, refine=True)
    assert report.noise["recall"] is not None and {run["seeds"] for run in report.runs} == {2}


def test_proxies_trained_on_text_alone_decide_statements_by_loss(tmp_path):
    row = "another,count-loss,gla*11 attention,gla*12,ppl,4K,1.3B,1,0.5,n,"
    report = nas.fidelity(csv_of(tmp_path, row), tiny_config(), out=tmp_path / "out")
    (axis,) = report.axes
    assert not (tmp_path / "out" / "runs.jsonl").exists() and report.ends == {}
    record = json.loads((tmp_path / "out" / "by_loss" / "runs.jsonl").read_text().splitlines()[0])
    assert {name.partition("/")[0] for name in record["result"]["loss"]} == {"text"}
    # Far from 6.2, the loss of any of 512 tokens: after 8 steps only the n-grams can have told.
    assert record["result"]["loss"]["text"] < 4
    losses = {run["layout"]: run["hit_loss"] for run in report.runs}
    assert record["result"]["loss"]["text/ar_hit"] == losses[str(Layout.from_dict(record["origin"]["layout"]))]
    assert axis.proxies.value == float(losses["gla*11 attention"] < losses["gla*12"])
    assert list(report.tasks["count-loss"]) == ["text", "text/ar_hit", "text/other"]


def test_its_folder_is_no_search(trained, finished, tmp_path):
    folder, _ = trained
    for name in ("status", "resume", "front"):
        result = command(name, folder)
        assert result.exit_code == 2 and "study.yaml" in result.stderr and result.stderr.count("\n") == 1
    result = command("fidelity", csv_of(tmp_path), "--out", finished, *ARGUMENTS)
    assert result.exit_code == 2 and "of a search" in result.stderr and result.stderr.count("\n") == 1


def test_runs_of_another_configuration_are_not_mixed_in(trained):
    folder, _ = trained
    for key, value, expected in (("training.steps", 9, 8), ("loss.steps", 9, 8), ("loss.logit_std", 0.5, 0.25)):
        other = command("fidelity", folder / "statements.csv", "--out", folder, *ARGUMENTS, f"{key}={value}")
        assert other.exit_code == 2 and f"{key}={value}: expected {expected}" in other.stderr
    with Folder.lock(nas.study.folder.StudyFolder.open(folder)):
        held = command("fidelity", folder / "statements.csv", "--out", folder, *ARGUMENTS)
    assert held.exit_code == 2 and "another process" in held.stderr


def test_runs_of_before_a_key_was_there_have_its_default(trained, tmp_path):
    folder = shutil.copytree(trained[0], tmp_path / "out")
    content = (folder / "study.yaml").read_text()
    (folder / "study.yaml").write_text(content.replace("  logit_std: 1.0\n", "", 1))
    assert (folder / "study.yaml").read_text() != content
    assert nas.study.folder.StudyFolder.find(folder, tiny_config()) is not None
    other = tiny_config("proxy.logit_std=0.5")
    with pytest.raises(InputError, match=r"proxy\.logit_std=0\.5: expected 1\.0"):
        nas.study.folder.StudyFolder.find(folder, other)


def test_workers_that_cannot_be_had_leave_nothing(tmp_path, monkeypatch):
    def refuse(workers):
        raise InputError("workers.gpus", 1, "at most the 0 that the Ray cluster has")

    monkeypatch.setattr("nas.study.training.open_pool", refuse)
    result = command("fidelity", csv_of(tmp_path), "--out", tmp_path / "out", *ARGUMENTS)
    assert result.exit_code == 2 and "workers.gpus" in result.stderr and not (tmp_path / "out").exists()


def test_code_that_the_folder_names_is_imported_with_trust_alone(trained, tmp_path):
    folder = shutil.copytree(trained[0], tmp_path / "out")
    content = (folder / "runs.jsonl").read_text()
    (folder / "runs.jsonl").write_text(content.replace('"mixer": "gla"', '"mixer": "no_such_package.part:Mixer"'))
    result = command("fidelity", csv_of(tmp_path), "--out", folder, *ARGUMENTS, "--report")
    assert result.exit_code == 2 and "--trust" in result.stderr and "line" in result.stderr


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--refine"], "--refine"),
        (["--group", "most"], "--group=most"),
        (["proxy.widht=3"], "widht"),
        (["--group", "choose", "tasks.recall.weight=0"], "tasks"),
    ],
)
def test_bad_input(tmp_path, arguments, said):
    result = command("fidelity", csv_of(tmp_path), "--out", tmp_path / "out", *ARGUMENTS, *arguments)
    assert result.exit_code == 2 and said in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_runs_at_the_floor_and_at_the_ceiling():
    plan, suite = plan_of(statement(), statement("count", "gla*11 attention", "gla*12")), tiny_config().suite()
    floors = suite.floors(8)
    floor = sum(floors.values()) / len(floors)
    results = {
        # At the end of a run all are the same: the whole run counts.
        number: [
            Result(
                seed=0,
                steps=8,
                status="complete",
                recall=recall,
                accuracy={"recall": 0.8},
                curves={"recall/recall": [(4, recall - 0.2), (8, recall + 0.2)]},
            )
        ]
        for number, recall in enumerate((floor + 0.01, 0.99, (1 + floor) / 2))
    }
    part = Part(by_loss=False, config=tiny_config(), suite=suite, plan=plan, scores=Scores(results=results))
    report = make_report([part], {})
    assert report.ends == {"recall": (pytest.approx(1 / 3), pytest.approx(1 / 3))}
    assert report.axes[0].proxies.value == 0.0 and report.axes[1].proxies.value == 1.0
