"""Families of token mixers: by what they remember of the tokens so far."""

from search_space.errors import InputError, one_of
from search_space.mixers import MIXERS

FAMILIES = {
    "attention": "softmax over all tokens so far",
    "window": "softmax over a window of the last tokens",
    "sparse": "softmax over selected tokens, or blocks of them",
    "linear": "linear attention: a matrix that adds keys times values, with or without decay",
    "delta": "the delta rule: a matrix that corrects what it holds under a key",
    "ssm": "state-space models: a matrix or a few numbers a channel, decayed by steps that the token sets",
    "vector": "gated recurrences, element by element",
    "convolution": "convolutions, short or long",
    "mixed": "several of these in one layer",
}
"""Name -> what a mixer of the family remembers. A mixer names its own in `Mixer.family`."""

PREFIX = "family:"
"""`family:delta` stands for all mixers of a family in a list of names."""


def mixers_of(family: str, key: str) -> list[str]:
    """Names of the mixers of a family, in the order of their catalogue.

    Args:
        family: one of FAMILIES.
        key: configuration key to name in the message.

    Raises:
        InputError: there is no such family, or it has no mixer.
    """
    if family not in FAMILIES:
        raise InputError(key, f"{PREFIX}{family}", f"a family: {one_of(family, list(FAMILIES))}")
    found = [name for name in MIXERS.names() if MIXERS.get(name, key).family == family]
    if not found:
        raise InputError(key, f"{PREFIX}{family}", "a family that has a mixer")
    return found
