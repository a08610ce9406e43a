"""The colours of mixers, the same in every picture and page: a hue for each family, a shade for each mixer of it.

Hues are those of Okabe and Ito (2008), which people tell apart whatever their sense of colour, and three between them.
None is black or grey: those mean what the search found, and layers without a mixer.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache

from search_space.errors import InputError
from search_space.mixers import MIXERS

INK, FAINT = "#1a1a1a", "#7c8fa6"
"""Layouts that the search proposed: on the front, and elsewhere."""
NO_MIXER = "#b8b8b8"
HUES = {
    "attention": "#d55e00",
    "window": "#e69f00",
    "sparse": "#a8324a",
    "linear": "#0072b2",
    "delta": "#009e73",
    "ssm": "#cc79a7",
    "vector": "#56b4e9",
    "convolution": "#7b5ea7",
    "mixed": "#8c6d46",
}
"""Family of mixers -> colour of its first mixer. Users' own families have that of "mixed"."""
SHADES = (0.0, 0.4, -0.4, 0.6, -0.2, 0.2, -0.6, 0.7, -0.5, 0.5, -0.3, 0.3, -0.7, 0.1, -0.1)
"""Of the mixers of a family, in the order of the catalogue: towards white (up to 1), or black (down to -1)."""
OPTIONS = 0.28
"""How much lighter each further layer is that differs from another in options alone."""
NAME = re.compile(r"[\w.:]+")


def mixer_colours(labels: Iterable[str]) -> dict[str, str]:
    """A colour for every layer, by its name in short notation, in the order of families and names.

    A mixer has one colour everywhere. Of layers that differ in options alone the first has it, in natural order, and
    the others are lighter.
    """
    by_mixer: dict[str, list[str]] = defaultdict(list)
    for label in sorted(set(labels), key=_natural):
        by_mixer[_mixer_of(label)].append(label)
    found = {}
    for mixer in sorted(by_mixer, key=lambda name: (_place(name), name)):
        for rank, label in enumerate(by_mixer[mixer]):
            found[label] = shade(_colour(mixer), min(0.8, OPTIONS * rank))
    return found


def shade(colour: str, by: float) -> str:
    """A colour mixed with white, where `by` is above 0, or with black; by 1 or -1 nothing of it is left."""
    end = 255 if by > 0 else 0
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part + (end - part) * abs(by)):02x}" for part in parts)


def _mixer_of(label: str) -> str:
    found = NAME.match(label)
    return found[0] if found else ""


def _natural(text: str) -> list[tuple[int, str]]:
    """Numbers in a text are compared as numbers."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", text)]


@cache
def _place(mixer: str) -> tuple[int, int]:
    """Which family, in the order of `HUES`, and which of its mixers in the order of the catalogue."""
    hues = list(HUES)
    if mixer in ("", "none"):
        return len(hues), 0
    family = _family(mixer)
    members = [name for name in MIXERS.names() if name == mixer or _family(name) == family]
    place = members.index(mixer) if mixer in members else len(members)
    return hues.index(family if family in HUES else "mixed"), place


def _family(mixer: str) -> str:
    try:
        return MIXERS.get(mixer).family
    except InputError:  # of a record that was made elsewhere, or an announced one that cannot be imported
        return ""


def _colour(mixer: str) -> str:
    family, place = _place(mixer)
    return NO_MIXER if family == len(HUES) else shade(list(HUES.values())[family], SHADES[place % len(SHADES)])
