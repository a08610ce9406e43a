import pytest
import torch

from search_space.errors import InputError
from workers.suite.suite import build_suite
from workers.suite.task import IGNORED
from workers.testing.tasks import generator


@pytest.fixture
def suite():
    return build_suite({"recall": {"pairs": [4]}, "again": {"task": "recall", "pairs": [2], "weight": 3.0}}, 40)


def test_tasks_have_their_own_tokens(suite):
    assert suite.vocabulary == 65 + 65 and suite.offsets == {"recall": 0, "again": 65}
    for label, batch in suite.test_batches(4).items():
        assert (batch.tokens // 65 == suite.offsets[label] // 65).all()
        assert (batch.labels[batch.labels != IGNORED] // 65 == suite.offsets[label] // 65).all()


def test_rows_follow_the_weights(suite):
    draws = generator()
    rows = torch.cat([suite.train_batch(6, 1.0, draws).tokens[:, 0] for _ in range(200)])
    assert len(rows) == 1200 and (rows >= 65).float().mean() == pytest.approx(0.75, abs=0.02)


def test_a_perfect_model_scores_one_and_a_random_one_little(suite):
    answers = {}
    for batch in suite.test_batches(8).values():
        for tokens, labels in zip(batch.tokens.tolist(), batch.labels.tolist(), strict=True):
            answers |= {(tuple(tokens), i): label for i, label in enumerate(labels)}

    def perfect(tokens, scored):
        due = [answers[tuple(tokens[n].tolist()), i] for n, i in scored.nonzero().tolist()]
        return 20.0 * torch.nn.functional.one_hot(torch.tensor(due), suite.vocabulary).float()

    scores, recall = suite.score(perfect, 8)
    assert recall == 1.0 and set(scores["accuracy"]) == {"recall", "recall/pairs_4", "again", "again/pairs_2"}
    assert max(scores["loss"].values()) < 1e-4
    torch.manual_seed(0)
    _, recall = suite.score(lambda tokens, scored: torch.randn(int(scored.sum()), suite.vocabulary), 8)
    assert recall < 0.1


def test_a_task_that_does_not_count_is_scored_all_the_same():
    suite = build_suite({"recall": {"pairs": [4]}, "again": {"task": "recall", "pairs": [2], "counts": False}}, 40)
    torch.manual_seed(0)
    scores, recall = suite.score(lambda tokens, scored: torch.randn(int(scored.sum()), suite.vocabulary), 24)
    assert recall == scores["accuracy"]["recall"] and "again" in scores["accuracy"]


def test_a_group_without_a_sequence_is_refused():
    suite = build_suite({"recall": {"pairs": [2]}, "other": {"task": "recall", "pairs": [1, 2, 3, 4]}}, 40)
    suite.check(4)
    with pytest.raises(InputError) as error:
        suite.check(3)
    message = "training.test_sequences=3: expected at least 4, so that every group of task other gets a sequence"
    assert str(error.value) == message


@pytest.fixture
def letters(tmp_path):
    """Text in which no pair of letters comes twice within a few tokens."""
    draws = generator(7)
    (tmp_path / "text").write_text("".join(chr(0x4E00 + i) for i in torch.randint(5000, (4000,), generator=draws)))
    return {"task": "text", "paths": [str(tmp_path / "text")], "tokens": 256}


def test_a_group_that_is_empty_by_chance_is_left_out(letters):
    suite = build_suite({"text": letters, "recall": {"pairs": [1]}}, 12)
    batch = suite.test_batches(2)["text"]
    other = (batch.labels != IGNORED) & (batch.group == 1)
    batch.labels[other] = IGNORED  # as if the context held every bigram
    suite.check(2)
    scores, _ = suite.score(lambda tokens, scored: torch.zeros(int(scored.sum()), suite.vocabulary), 2)
    for kind in ("accuracy", "loss"):
        assert "text/other" not in scores[kind] and {"text/ar_hit", "text"} <= set(scores[kind])


def test_a_task_without_anything_to_recall_is_refused(letters):
    suite = build_suite({"text": letters}, 2)
    with pytest.raises(InputError, match="no sequence of task text has a token of ar_hit"):
        suite.check(2)


BAD = {
    "unknown task": ({"recal": {}}, "tasks.recal=recal", "did you mean 'recall'"),
    "unknown option": ({"recall": {"pair": 3}}, "tasks.recall.pair=3", "did you mean 'pairs'"),
    "wrong kind": ({"recall": {"pairs": 3}}, "tasks.recall.pairs=3", "a value like"),
    "truth for a number": ({"recall": {"keys": True}}, "tasks.recall.keys=True", "a value like 32"),
    "text for a number": ({"recall": {"weight": "much"}}, "tasks.recall.weight=much", "a value like 1.0"),
    "not a number": ({"recall": {"weight": float("nan")}}, "tasks.recall.weight=nan", "a value like"),
    "no end of weight": ({"recall": {"weight": float("inf")}}, "tasks.recall.weight=inf", "a value like"),
    "no task by that path": ({"x": {"task": "pathlib:Path"}}, "tasks.x=pathlib:Path", "a subclass of"),
    "negative weight": ({"recall": {"weight": -1}}, "tasks.recall.weight=-1", "zero or more"),
    "no weight at all": ({"recall": {"weight": 0, "pairs": [2]}}, "tasks", "at least one task"),
    "nothing counts": ({"recall": {"counts": False, "pairs": [2]}}, "tasks", "at least one task"),
    "no task": ({}, "tasks", "at least one task"),
    "too long": (
        {"recall": {"pairs": [19]}, "x": {"task": "recall", "pairs": [20]}},
        "tasks.x.pairs=(20,)",
        "from 1 to 19",
    ),
    "long chains": ({"variable_tracking": {"hops": 8, "chains": [3]}}, "chains=(3,)", "from 1 to 1"),
    "noise": ({"noisy_recall": {"noise_share": 1.0}}, "noise_share=1.0", "[0, 1)"),
    "few symbols": ({"multi_key": {"alphabet": 2, "keys": [9]}}, "tasks.multi_key.alphabet=2", "at least 3"),
    "many keys": ({"multi_key": {"keys": [13]}}, "tasks.multi_key.keys=(13,)", "from 1 to 12"),
    "wide gaps": ({"multi_key": {"gap": -1}}, "tasks.multi_key.gap=-1", "0 or more"),
    "all bound anew": ({"overwrites": {"rebound": 1.0}}, "tasks.overwrites.rebound=1.0", "[0, 1)"),
    "many pairs": ({"overwrites": {"pairs": [16]}}, "tasks.overwrites.pairs=(16,)", "from 1 to 14"),
    "many asked": ({"multi_query": {"asked": [9]}}, "tasks.multi_query.asked=(9,)", "from 1 to 8"),
    "haystack": ({"needle": {"haystack": "words", "needles": [1]}}, "tasks.needle.haystack=words", "language, phrase"),
    "odd vocabulary": ({"mqar": {"tokens": 7}}, "tasks.mqar.tokens=7", "even"),
}


@pytest.mark.parametrize(("config", "key", "expected"), BAD.values(), ids=BAD)
def test_bad_configurations(config, key, expected):
    with pytest.raises(InputError) as error:
        build_suite(config, 40)
    assert key in str(error.value) and expected in str(error.value)


def test_trivial_strategies_stand_beside_the_scores():
    config = {"recall": {"pairs": [2, 8]}, "multi_key": {"keys": [4]}}
    suite = build_suite(config, 40)
    found, floors = suite.trivial(24), suite.floors(24)
    assert set(found) == set(floors) == {"recall/pairs_2", "recall/pairs_8", "multi_key/tokens_2_keys_4"}
    # Looking the one token of a key up is what `recall` asks for; for keys of two tokens it is no more than a guess.
    assert found["recall/pairs_8"]["lookup_1"] == 1.0 > floors["recall/pairs_8"]
    assert floors["recall/pairs_8"] == max(found["recall/pairs_8"][s] for s in ("uniform", "frequent", "last"))
    several = found["multi_key/tokens_2_keys_4"]
    assert several["lookup_2"] == 1.0 and several["lookup_1"] < 0.5
    assert floors["multi_key/tokens_2_keys_4"] == max(a for name, a in several.items() if name != "lookup_2")
