"""Trained weights that a search keeps: which, for how long, and as a model that scores as it did."""

import pytest
import torch

import nas as front_door
from nas.results.weights import KeptWeights
from search_space.errors import InputError
from tests.conftest import TINY
from tests.nas.conftest import QUIET, nas
from tests.nas.examples import result, trial
from workers.jobs import Outcome

KEEPING = [*TINY, *QUIET, "search.keep_weights=true"]


def names(path):
    return sorted(file.name for file in path.iterdir()) if path.exists() else []


def ended(*results):
    return Outcome(job=None, results=results, weights=tuple(b"%d" % each.seed for each in results))


@pytest.fixture
def kept(tmp_path):
    return KeptWeights(tmp_path / "weights", 0.1)


def test_those_that_may_be_on_the_front_are_kept_until_they_no_longer_may(kept, tmp_path):
    first, likely, worse = trial(0, on_front=True, confidence=0.9), trial(1, confidence=0.2), trial(2, confidence=0.01)
    for each in (first, likely, worse):
        kept.update(each, ended(result(0), result(1, status="diverged")))
    assert names(tmp_path / "weights") == ["trial_0_seed_0.pt", "trial_1_seed_0.pt"]
    first.on_front, first.confidence = False, 0.05
    kept.update(likely, ended(result(2)))
    assert names(tmp_path / "weights") == ["trial_1_seed_0.pt", "trial_1_seed_2.pt"]
    kept.finish()
    assert names(tmp_path / "weights") == []


def test_a_search_that_goes_on_takes_over_what_was_kept(kept, tmp_path):
    likely = trial(1, confidence=0.2)
    kept.update(likely, ended(result(0)))
    later = KeptWeights(tmp_path / "weights", 0.1)
    later.resume([trial(0), likely])
    likely.confidence = 0.0
    later.update(trial(2, on_front=True), ended(result(0)))
    assert names(tmp_path / "weights") == ["trial_2_seed_0.pt"]


def test_a_folder_that_takes_nothing_costs_no_search(tmp_path, caplog):
    (tmp_path / "weights").write_text("a file")
    kept = KeptWeights(tmp_path / "weights", 0.1)
    kept.update(trial(0, on_front=True), ended(result(0)))
    assert "trial_0_seed_0.pt is not kept" in caplog.text


def test_a_link_is_not_followed(kept, tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "weights" / "trial_0_seed_0.pt").symlink_to(tmp_path / "theirs")
    kept.update(trial(0, on_front=True), ended(result(0)))
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert (tmp_path / "weights" / "trial_0_seed_0.pt").read_bytes() == b"0"


@pytest.fixture(scope="module", params=[1, 2], ids=["alone", "stacked"])
def searched(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("kept") / "run"
    overrides = [*KEEPING, "search.trials=4", "search.seeds=2", f"search.seeds_per_job={request.param}"]
    return front_door.search(front_door.load("smoke", overrides), out=path)


def test_a_model_of_the_front_scores_as_it_did(searched):
    front = [t for t in searched.trials if t.on_front]
    files = [f"trial_{t.number}_seed_{seed}.pt" for t in front for seed in t.seeds]
    assert names(searched.folder.weights) == sorted(files)
    suite = searched.config.suite()
    for trained in front:
        for run in trained.results:
            model = searched.model(trained.number, run.seed)

            def answers(tokens, scored, model=model):
                with torch.no_grad():
                    return model(tokens, scored)[None]

            ((scores, _),) = suite.score_all(answers, searched.config.training.test_sequences)
            assert scores["accuracy"] == run.accuracy
            assert scores["loss"] == pytest.approx(run.loss, rel=1e-4)
    assert searched.model("knee").training is not None


def test_what_is_not_kept_is_said(searched, tmp_path):
    trained = searched.pick("knee")
    with pytest.raises(InputError, match=rf"weights of trial {trained.number}=seed 9: expected one of \[0"):
        searched.model("knee", 9)
    beaten = next((t for t in searched.trials if not t.on_front), None)
    if beaten is not None:
        with pytest.raises(InputError, match=r"=none: expected a layout on the front .*search.keep_weights"):
            searched.model(beaten.number)


def test_they_stay_when_a_search_is_prolonged_and_go_when_it_is_cleaned(searched):
    before = names(searched.folder.weights)
    resumed = searched.resume(["search.trials=5"])
    after = [f"trial_{t.number}_seed_{seed}.pt" for t in resumed.trials if t.on_front for seed in t.seeds]
    assert set(names(searched.folder.weights)) <= set(after) and set(after) - set(before) <= set(
        names(searched.folder.weights)
    )
    file = searched.folder.weights / names(searched.folder.weights)[0]
    whole = file.read_bytes()
    for damaged in (b"", b"not weights", whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        _, number, _, seed = file.stem.split("_")
        with pytest.raises(InputError, match="weights="):
            resumed.model(int(number), int(seed))
    said = nas("clean", searched.path)
    assert said.exit_code == 0 and "MB freed" in said.stdout and not searched.folder.weights.exists()
    assert nas("clean", searched.path).stdout.startswith("0 MB freed")
    assert nas("front", searched.path).exit_code == 0
