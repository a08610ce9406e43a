"""A small language: noise that is easy to predict, unlike tokens at random, and never the same, unlike a phrase.

Shapes: N sequences, L tokens.
"""

from functools import lru_cache

import torch
from torch import Generator, Tensor

from workers.suite.sampling import below

CHANCES = (0.5, 0.25, 0.15, 0.05)
"""Of the four tokens that may follow a token; else any token follows. About 2 bits a token."""


@lru_cache(maxsize=8)
def successors(vocabulary: int) -> Tensor:
    """[vocabulary, 4]: what may follow each token, most likely first; always the same for one vocabulary."""
    return below(vocabulary, (vocabulary, len(CHANCES)), torch.Generator().manual_seed(vocabulary))


def sentences(count: int, length: int, vocabulary: int, generator: Generator) -> Tensor:
    """[N, L] tokens of a Markov chain over `vocabulary` tokens."""
    table = successors(vocabulary)
    bounds = torch.tensor(CHANCES).cumsum(0)
    choice = torch.bucketize(torch.rand(count, length, generator=generator), bounds, right=True)
    anything = below(vocabulary, (count, length), generator)
    known = choice < len(CHANCES)
    choice = choice.clamp(max=len(CHANCES) - 1)
    tokens = [anything[:, 0]]
    for place in range(1, length):
        likely = table[tokens[-1], choice[:, place]]
        tokens.append(torch.where(known[:, place], likely, anything[:, place]))
    return torch.stack(tokens, 1)
