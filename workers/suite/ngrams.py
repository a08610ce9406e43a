"""What the last few tokens say of the next one, as counted in a text.

Shapes: N sequences, L tokens, V vocabulary.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from search_space.checks import count
from search_space.errors import InputError
from workers.suite.corpus import load_corpus

DISCOUNT = 0.75
"""What is taken from every count and given to shorter contexts."""
MOST_TOKENS = 3
"""Tokens in the longest context: longer ones are rarely met twice in the few megabytes that a proxy is trained on."""


def check_ngram(tokens: int, vocabulary: int) -> None:
    """Checks the length of a context, the option `ngram` of a task.

    Raises:
        InputError: it is no integer, too large, or contexts of so many tokens have no number.
    """
    count("ngram", tokens, MOST_TOKENS)
    if vocabulary ** (tokens + 1) >= 2**63:
        raise InputError("ngram", tokens, f"fewer, with tokens={vocabulary}")


@dataclass(frozen=True)
class _Counts:
    """What followed each context of some length. Entries [E] are distinct pairs of a context and a next token."""

    contexts: Tensor  # [C], sorted
    total: Tensor  # [C], occurrences
    kinds: Tensor  # [C], distinct next tokens, which are so many entries...
    begin: Tensor  # [C] ...from here
    token: Tensor  # [E]
    times: Tensor  # [E]


class NGrams:
    """An n-gram model with absolute discounting (Ney, Essen and Kneser 1994): each context is interpolated with the one
    that is shorter by a token, the shortest with a uniform distribution.

    Args:
        stream: the text, [tokens] int64.
        vocabulary: V.
        tokens: in the longest context.
    """

    def __init__(self, stream: Tensor, vocabulary: int, tokens: int):
        self.vocabulary = vocabulary
        # Of no context at all, as one row; every token can come.
        times = stream[1:].bincount(minlength=vocabulary)
        seen = (times > 0).sum()
        self._first = ((times - DISCOUNT).clamp(min=0) + DISCOUNT * seen / vocabulary) / times.sum()
        levels = (_count(stream, vocabulary, n) for n in range(1, tokens + 1))
        self._levels = [counts for counts in levels if len(counts.contexts)]

    def log_probabilities(self, tokens: Tensor) -> Tensor:
        """Of the token after each position: tokens [N, L] -> [N, L, V]. Nothing precedes the first token."""
        found = self._first.repeat(tokens.numel(), 1)
        for n, counts in enumerate(self._levels, 1):
            _interpolate(found, counts, _contexts(tokens, self.vocabulary, n).flatten())
        return found.log_().view(*tokens.shape, self.vocabulary)


def _contexts(tokens: Tensor, vocabulary: int, n: int) -> Tensor:
    """The last n tokens up to each position as one number, -1 where there are fewer: [N, L] -> [N, L]."""
    found = torch.zeros_like(tokens)
    for back in range(n):
        found[:, back:] += tokens[:, : tokens.shape[1] - back] * vocabulary**back
    found[:, : n - 1] = -1
    return found


def _count(stream: Tensor, vocabulary: int, n: int) -> _Counts:
    contexts = _contexts(stream[None], vocabulary, n)[0, :-1]
    known = contexts >= 0
    pairs, times = (contexts * vocabulary + stream[1:])[known].unique(return_counts=True)
    keys, of_entry, kinds = (pairs // vocabulary).unique_consecutive(return_inverse=True, return_counts=True)
    total = torch.zeros_like(keys).index_add_(0, of_entry, times)
    return _Counts(keys, total, kinds, kinds.cumsum(0) - kinds, pairs % vocabulary, times)


def _interpolate(shorter: Tensor, counts: _Counts, contexts: Tensor) -> None:
    """Turns probabilities after shorter contexts, [M, V], into those after these, [M]; unknown ones change nothing."""
    place = torch.searchsorted(counts.contexts, contexts).clamp(max=len(counts.contexts) - 1)
    known = counts.contexts[place] == contexts
    total, kinds = counts.total[place], torch.where(known, counts.kinds[place], 0)
    shorter *= torch.where(known, DISCOUNT * kinds / total, 1.0)[:, None]
    within = torch.arange(int(kinds.sum())) - (kinds.cumsum(0) - kinds).repeat_interleave(kinds)
    rows = torch.arange(len(contexts)).repeat_interleave(kinds)
    entries = counts.begin[place][rows] + within
    share = (counts.times[entries] - DISCOUNT) / total[rows]
    shorter.view(-1).index_add_(0, rows * shorter.shape[1] + counts.token[entries], share)


@lru_cache(maxsize=4)
def load_ngrams(paths: tuple[str, ...], vocabulary: int, max_bytes: int, tokens: int) -> tuple[NGrams, NGrams]:
    """Models of the first and of the second half of the training documents of `load_corpus`. Kept like those."""
    stream = load_corpus(paths, vocabulary, max_bytes).train
    half = len(stream) // 2
    return NGrams(stream[:half], vocabulary, tokens), NGrams(stream[half:], vocabulary, tokens)
