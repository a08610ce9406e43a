"""Real text: the next token, with the tokens that recall can give scored apart from the others."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor

from search_space import limits
from search_space.checks import not_negative, positive, share
from search_space.errors import InputError
from workers.suite.corpus import Corpus, load_corpus
from workers.suite.ngrams import check_ngram, load_ngrams
from workers.suite.sampling import check_positive
from workers.suite.task import IGNORED, Batch, Task


class Bigrams:
    """How often tokens follow each other in a stream, [tokens]; `vocabulary` is above all of them."""

    def __init__(self, stream: Tensor, vocabulary: int):
        first, second = stream[:-1], stream[1:]
        self.vocabulary = vocabulary
        self._pairs, self._times = (first * vocabulary + second).unique(return_counts=True)
        self._of_first = first.bincount(minlength=vocabulary)

    def common(self, tokens: Tensor, share: float) -> Tensor:
        """Which next tokens follow theirs more often than in this share of cases: tokens [N, L + 1] -> [N, L] bool."""
        wanted = tokens[:, :-1] * self.vocabulary + tokens[:, 1:]
        place = torch.searchsorted(self._pairs, wanted).clamp(max=len(self._pairs) - 1)
        seen = torch.where(self._pairs[place] == wanted, self._times[place], 0)
        return seen > share * self._of_first[tokens[:, :-1]]


def recall_hits(tokens: Tensor) -> Tensor:
    """Which next tokens complete a bigram that occurred earlier in the context (2312.04927, section 3.1).

    tokens [N, L + 1] -> [N, L] bool: entry t is true if the tokens at t and t + 1 were neighbours before.
    """
    bigrams = tokens[:, :-1] * (tokens.max() + 1) + tokens[:, 1:]
    # A stable sort puts equal bigrams side by side, earlier ones first: all but the first of them are hits.
    ordered, places = bigrams.sort(dim=1, stable=True)
    again = torch.zeros_like(ordered, dtype=torch.bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    return torch.zeros_like(again).scatter(1, places, again)


@dataclass(frozen=True, kw_only=True)
class Text(Task):
    """Windows of text files in a byte-pair vocabulary; every next token is labelled.

    Its recall is the accuracy on tokens that complete a bigram seen earlier in the window ("ar_hit"). Bigrams that are
    common in the text that is trained on can be left out, since they are learnt and need no recall (2312.04927, section
    3.1). Test windows come from documents that are not trained on.

    Args:
        paths: files and folders; empty means the sources of Python's standard library.
        tokens: size of the vocabulary, 256 bytes included; small texts may give fewer.
        max_bytes: largest number of bytes read, an equal share of each file.
        common: bigrams whose second token follows the first in more than this share of cases are common; 1 means none.
        ngram: tokens of context, at most 3, of an n-gram model whose log-probabilities are added to the logits, so that
            the proxy learns what more context tells; 0 leaves it out. A window of one half of the training text gets
            the model that was counted on the other half; test windows get that of the second half.
        left_out: share of the tokens of no recall that training leaves out, drawn at random. With fewer of them a proxy
            learns to recall sooner, and to expect a token that was there before more often than it comes.
    """

    paths: tuple[str, ...] = ()
    tokens: int = 512
    max_bytes: int = 5_000_000
    common: float = 1.0
    ngram: int = 0
    left_out: float = 0.0

    def __post_init__(self):
        check_positive(tokens=self.tokens)
        positive("max_bytes", self.max_bytes, limits.TEXT_BYTES)
        not_negative("common", self.common)
        share("left_out", self.left_out)
        if self.tokens < 256:
            raise InputError("tokens", self.tokens, "256 or more, as every byte is a token")
        check_ngram(self.ngram, self.tokens)
        if isinstance(self.paths, str) or not all(isinstance(p, str) for p in self.paths):
            raise InputError("paths", self.paths, "a list of files and folders")
        for part in (self.corpus.train, self.corpus.test):
            if len(part) < self.length + 2:
                found = f"{len(part)} tokens in a part of the split"
                raise InputError("paths", list(self.paths), f"text for windows of length={self.length}; {found}")

    @property
    def corpus(self) -> Corpus:
        """The token streams."""
        return load_corpus(tuple(self.paths), self.tokens, self.max_bytes)

    @cached_property
    def _bigrams(self) -> Bigrams:
        return Bigrams(self.corpus.train, self.tokens)

    @property
    def vocabulary(self) -> int:  # noqa: D102
        return self.tokens

    @property
    def groups(self) -> tuple[str, ...]:  # noqa: D102
        return ("ar_hit", "other")

    @property
    def recall_groups(self) -> tuple[str, ...]:  # noqa: D102
        return ("ar_hit",)

    def train_batch(self, count: int, progress: float, generator: Generator) -> Batch:  # noqa: D102
        stream = self.corpus.train
        starts = torch.randint(len(stream) - self.length, (count, 1), generator=generator)
        window = self._windows(stream, starts)
        labels = window[:, 1:]
        if self.left_out:
            learnt = self._recall(window) | (torch.rand(labels.shape, generator=generator) >= self.left_out)
            if learnt.any():  # a loss needs a label
                labels = torch.where(learnt, labels, IGNORED)
        return Batch(window[:, :-1], labels, prior=self._prior(window, starts[:, 0] < len(stream) // 2))

    def test_batch(self, count: int, generator: Generator) -> Batch:  # noqa: D102
        starts = torch.randint(len(self.corpus.test) - self.length, (count, 1), generator=generator)
        window = self._windows(self.corpus.test, starts)
        # The first token has no context to recall from.
        labels = window[:, 1:].clone()
        labels[:, 0] = IGNORED
        recall = self._recall(window)
        prior = self._prior(window, torch.ones(count, dtype=torch.bool))
        return Batch(window[:, :-1], labels, (~recall).long(), prior)

    def _recall(self, window: Tensor) -> Tensor:
        """Which next tokens recall can give: [N, L + 1] -> [N, L] bool."""
        hits = recall_hits(window)
        return hits & ~self._bigrams.common(window, self.common) if self.common < 1 else hits

    def _windows(self, stream: Tensor, starts: Tensor) -> Tensor:
        return stream[starts + torch.arange(self.length + 1)]

    def _prior(self, window: Tensor, first: Tensor) -> Tensor | None:
        """What the halves of the text say of the next tokens: of the second half for the windows that are `first`."""
        if not self.ngram:
            return None
        halves = load_ngrams(tuple(self.paths), self.tokens, self.max_bytes, self.ngram)
        prior = torch.empty(*window[:, :-1].shape, self.tokens)
        for half, own in zip(halves, (~first, first), strict=True):
            prior[own] = half.log_probabilities(window[own, :-1])
        return prior
