"""Layouts from the literature, at the depth that they were published with."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import cycle, islice

import yaml

from search_space.layouts.layout import Block, Layout


@dataclass(frozen=True)
class Origin:
    """Where a layout comes from, if it was published.

    Args:
        name: what it is called.
        layout: as it was published, at its own depth: what is priced, exported and drawn.
    """

    name: str
    layout: Layout


@dataclass(frozen=True)
class Published:
    """A layout from the literature.

    Args:
        name: what it is called.
        source: where it was published.
        year: when.
        layout: its mixers with default options, at its own depth. `search_space.layouts.resize` takes it to another.
        note: what the layout leaves out or stands in for; empty where there is nothing to say.
    """

    name: str
    source: str
    year: int
    layout: Layout
    note: str


@cache
def published_layouts() -> tuple[Published, ...]:
    """All layouts of `published.yaml`, in its order."""
    sources = yaml.safe_load(files("search_space.layouts").joinpath("published.yaml").read_text(encoding="utf-8"))
    return tuple(
        Published(name, entry["source"], entry["year"], _layout(pattern, entry["layers"]), entry.get("note", ""))
        for entry in sources
        for name, pattern in entry["layouts"].items()
    )


def _layout(pattern: str, layers: int) -> Layout:
    """The pattern, as in `gla*2 attention`, repeated and cut at `layers` layers."""
    blocks = []
    for run in pattern.split():
        mixer, _, count = run.partition("*")
        blocks += [Block(mixer)] * int(count or 1)
    return Layout(tuple(islice(cycle(blocks), layers)))
