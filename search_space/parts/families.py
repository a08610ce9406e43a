"""Families of token mixers: by what they remember of the tokens so far."""

from collections.abc import Iterable

from search_space.errors import InputError, one_of
from search_space.mixers import MIXERS

FAMILIES = {
    "attention": "softmax over all tokens so far",
    "window": "softmax over a window of the last tokens",
    "sparse": "softmax over selected tokens, or blocks of them",
    "linear": "a matrix that adds keys times values, and may decay",
    "delta": "a matrix that corrects what it holds under a key (delta rule)",
    "ssm": "state-space models: decay and input follow from a step that the token sets",
    "vector": "gated recurrences of each element by itself",
    "convolution": "convolutions, short or long",
    "mixed": "several of these in one layer",
}
"""Name -> what a mixer of the family remembers. A mixer names its own in `Mixer.family`."""

PREFIX = "family:"
"""`family:delta` stands for all mixers of a family where names of mixers are listed."""


def family_in(name: str, key: str) -> str | None:
    """The family that `name` stands for; None where it names something else.

    Raises:
        InputError: there is no such family; names `key`.
    """
    if not name.startswith(PREFIX):
        return None
    family = name.removeprefix(PREFIX)
    if family not in FAMILIES:
        raise InputError(key, name, f"{PREFIX} with {one_of(family, list(FAMILIES))} behind it")
    return family


def expanded(names: Iterable[str], key: str) -> list[str]:
    """The names, with the mixers of a family in its place; the channel mixer behind a slash goes to each of them.

    Raises:
        InputError: a family that is none, or has no mixer; names `key`.
    """
    found: list[str] = []
    for name in names:
        stem, slash, mlp = name.partition("/")
        family = family_in(stem, key)
        members = [m for m in MIXERS.names() if family is not None and MIXERS.get(m, key).family == family]
        if family is not None and not members:
            raise InputError(key, name, "a family that has a mixer")
        found += [name] if family is None else [f"{member}{slash}{mlp}" for member in members]
    return found
