"""What an n-gram model says of the next token, and where a task adds it."""

from collections import Counter
from math import log

import pytest
import torch

from search_space.errors import InputError
from workers.suite.corpus import load_corpus
from workers.suite.ngrams import DISCOUNT, NGrams, load_ngrams
from workers.suite.suite import build_suite
from workers.suite.task import IGNORED
from workers.tasks.text import Text
from workers.testing.tasks import generator

V = 5


def naive(stream, context):
    """Probabilities of the next token, by the definition, from counts in a plain loop."""
    found = [1 / V] * V
    for n in range(len(context) + 1):
        last = context[len(context) - n :]
        after = Counter(stream[i + n] for i in range(len(stream) - n) if stream[i : i + n] == last and i + n > 0)
        total = sum(after.values())
        if total:
            share = DISCOUNT * len(after) / total
            found = [max(after[token] - DISCOUNT, 0) / total + share * p for token, p in enumerate(found)]
    return found


@pytest.mark.parametrize("tokens", [1, 2, 3])
def test_probabilities_are_those_of_the_definition(tokens):
    # The token 4 is never in the stream, so that some contexts are unknown at every length.
    stream = torch.randint(V - 1, (60,), generator=generator())
    windows = torch.randint(V, (3, 17), generator=generator(1))
    found = NGrams(stream, V, tokens).log_probabilities(windows)
    for window, rows in zip(windows.tolist(), found, strict=True):
        for i, row in enumerate(rows.tolist()):
            context = window[max(0, i + 1 - tokens) : i + 1]
            assert row == pytest.approx([log(p) for p in naive(stream.tolist(), context)], abs=1e-5)


def test_a_stream_shorter_than_the_context():
    found = NGrams(torch.tensor([1, 2]), V, 3).log_probabilities(torch.tensor([[1, 2, 3]]))
    assert found.exp().sum(-1) == pytest.approx(1.0) and found[0, 0].argmax() == 2


def test_each_half_of_the_text_is_told_what_the_other_says():
    task = Text(length=16, ngram=2)
    stream = load_corpus((), task.tokens, task.max_bytes).train
    first, second = load_ngrams((), task.tokens, task.max_bytes, 2)
    batch = task.train_batch(12, 0.0, generator())
    starts = torch.randint(len(stream) - 16, (12, 1), generator=generator())[:, 0]
    for tokens, prior, start in zip(batch.tokens, batch.prior, starts.tolist(), strict=True):
        assert torch.equal(tokens, stream[start : start + 16])
        own = second if start < len(stream) // 2 else first
        assert torch.equal(prior, own.log_probabilities(tokens[None])[0])
    assert 0 < (starts < len(stream) // 2).sum() < 12


def test_a_model_that_says_nothing_has_the_loss_of_the_ngrams():
    options = {"text": {"ngram": 2}}
    suite = build_suite(options, 32)
    scores, _ = suite.score(lambda tokens, scored: torch.zeros(int(scored.sum()), suite.vocabulary), 8)
    batch = suite.test_batches(8)["text"]
    scored = batch.labels != IGNORED
    said = batch.prior[scored].gather(1, batch.labels[scored][:, None])
    assert scores["loss"]["text"] == pytest.approx(-said.mean().item(), rel=1e-5) and scores["loss"]["text"] < 4


def test_other_tasks_beside_it_get_none():
    suite = build_suite({"recall": {"pairs": [2]}, "text": {"ngram": 1}}, 24)
    batch = suite.train_batch(8, 0.0, generator())
    is_text = batch.tokens[:, 0] >= suite.offsets["text"]
    assert 0 < is_text.sum() < 8 and (batch.prior[~is_text] == 0).all()
    inside = batch.prior[is_text][..., suite.offsets["text"] :]
    assert torch.allclose(inside.exp().sum(-1), torch.ones(()), atol=1e-4)
    assert (batch.prior[is_text][..., : suite.offsets["text"]] == inside.min()).all()


def test_contexts_that_cannot_be_counted(tmp_path):
    with pytest.raises(InputError, match="ngram=4: expected an integer, 0 or more of at most 3"):
        Text(length=16, ngram=4)
    with pytest.raises(InputError, match="ngram=3: expected fewer"):
        Text(length=16, ngram=3, tokens=60_000)
