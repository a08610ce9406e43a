"""Layouts from the literature, at the depth that they were published with."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import cycle, islice

import yaml

from search_space.layouts.layout import Layout


@dataclass(frozen=True)
class Published:
    """A layout from the literature.

    Args:
        name: what it is called.
        source: where it was published.
        year: when.
        layout: at its own depth and with the windows that were published; `resize` takes it to another depth.
        note: what the layout leaves out or stands in for; empty where there is nothing to say.
    """

    name: str
    source: str
    year: int
    layout: Layout
    note: str


@dataclass(frozen=True)
class Origin:
    """Where a layout of a search comes from, if it was not proposed.

    Args:
        name: of the published layout.
        layout: at its own depth: what is priced and exported, never by way of the proxy's depth.
    """

    name: str
    layout: Layout


@cache
def published_layouts() -> tuple[Published, ...]:
    """All layouts of `published.yaml`, in its order."""
    sources = yaml.safe_load(files("search_space.layouts").joinpath("published.yaml").read_text(encoding="utf-8"))
    return tuple(
        Published(name, entry["source"], entry["year"], _layout(pattern, entry.get("layers")), entry.get("note", ""))
        for entry in sources
        for name, pattern in entry["layouts"].items()
    )


def _layout(pattern: str, layers: int | None) -> Layout:
    """The pattern, as in `gla*2 attention`, repeated and cut at `layers` layers if a number is given."""
    layout = Layout.parse(pattern)
    return Layout(tuple(islice(cycle(layout.layers), layers))) if layers else layout
