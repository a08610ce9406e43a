import json
from dataclasses import replace

import optuna
import pytest

import nas as front_door
from nas.report.optuna_study import export_study
from nas.search.setup import check, trials_of
from search_space.errors import InputError
from tests.nas.conftest import nas
from tests.nas.report.examples import made_up

WINDOW = "space.blocks={local: {mixer: sliding_window, window: {choose: [2048, 16384]}}}"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    config, records = made_up(20, overrides=["space.choices=[attention, gla, local]", WINDOW])
    bad = replace(records[3].result, status="diverged", recall=0.0)
    records = [replace(r, result=bad) if r.trial == 1 else r for r in records if r.trial != 3]
    trials = trials_of(records, config)
    url = f"sqlite:///{tmp_path_factory.mktemp('study') / 'study.db'}"
    export_study(trials, check(config), config, url, "mine")
    return config, trials, url, optuna.load_study(study_name="mine", storage=url)


def test_every_trial_is_there_with_its_values(exported):
    config, trials, _, study = exported
    assert study.metric_names == config.search.objectives
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert [t.user_attrs["trial"] for t in study.trials] == [t.number for t in trials]
    for ours, theirs in zip(trials, study.trials, strict=True):
        assert theirs.user_attrs["layout"] == str(ours.design)
        if ours.state == "complete":
            assert theirs.values == [ours.value(name) for name in study.metric_names]
        else:
            assert theirs.state.name == "PRUNED" and theirs.values is None
    front = {t.number for t in trials if t.on_front}
    assert {t.user_attrs["trial"] for t in study.best_trials} == front


def test_parameters_are_the_decisions_that_count(exported):
    config, trials, _, study = exported
    space = check(config)
    for ours, theirs in zip(trials, study.trials, strict=True):
        values = {decision.name: decision.choices[0] for decision in space.decisions} | theirs.params
        assert space.layout(values) == ours.layout
        locals_ = sum(block == "local" for name, block in theirs.params.items() if "." not in name)
        assert sum("." in name for name in theirs.params) == locals_
        assert all(value <= 0 for value in theirs.constraints.values())


def test_optunas_picture_of_the_front(exported):
    pytest.importorskip("plotly", reason="needs plotly")
    _, trials, _, study = exported
    picture = optuna.visualization.plot_pareto_front(study)
    points = [len(trace.x or ()) for trace in picture.data]
    assert sum(points) == sum(t.state == "complete" for t in trials)
    assert picture.layout.xaxis.title.text == "recall" and picture.layout.yaxis.title.text == "decode_ms"


def test_the_dashboard_reads_it(exported):
    dashboard = pytest.importorskip("optuna_dashboard", reason="needs optuna-dashboard")
    from werkzeug.test import Client

    _, trials, url, study = exported
    client = Client(dashboard.wsgi(optuna.storages.RDBStorage(url)))
    (summary,) = json.loads(client.get("/api/studies").data)["study_summaries"]
    assert summary["study_name"] == "mine"
    found = json.loads(client.get(f"/api/studies/{summary['study_id']}?after=0").data)
    assert len(found["trials"]) == len(trials) and found["objective_names"] == study.metric_names


def test_a_name_that_is_taken_and_no_storage_are_refused(exported):
    config, trials, url, _ = exported
    with pytest.raises(InputError, match="--name=mine"):
        export_study(trials, check(config), config, url, "mine")
    with pytest.raises(InputError, match="URL=nothing"):
        export_study(trials, check(config), config, "nothing", "mine")
    with pytest.raises(InputError) as error:
        export_study(trials, check(config), config, "sqlite://me:secret@/nowhere/x.db", "mine")
    assert "secret" not in str(error.value)


def test_a_study_is_written_whole_or_not_at_all(exported, monkeypatch):
    config, trials, url, _ = exported
    monkeypatch.setattr("optuna.Study.add_trials", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_study(trials, check(config), config, url, "half")
    assert optuna.get_all_study_names(url) == ["mine"]


def test_the_command(finished, tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    found = nas("export-study", finished, url)
    assert found.exit_code == 0 and found.stdout == f"{finished.name}\n"
    study = optuna.load_study(study_name=finished.name, storage=url)
    assert len(study.trials) == len(front_door.open(finished).trials)
    assert nas("export-study", finished, url).exit_code == 2
    assert nas("export-study", finished, url, "--name", "other").exit_code == 0
