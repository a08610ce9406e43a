"""Layouts from the literature, at the depth that they were published with."""

from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from itertools import cycle, islice

import yaml

from search_space.layouts.layout import Layout
from search_space.parts.build import mixer_class
from search_space.parts.part import BRANCHES, Part


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

    @cached_property
    def _parts(self) -> list[tuple[Part, ...]]:
        """The mixers of each layer that has one; those that stand side by side all."""
        mixers = [block.mixer for block in self.layout.layers if block.mixer]
        return [dict(mixer.options).get(BRANCHES) or (mixer,) for mixer in mixers]

    @property
    def mixers(self) -> set[str]:
        """Names of the mixers that it has."""
        return {part.kind for parts in self._parts for part in parts}

    @property
    def families(self) -> set[str]:
        """Families of these."""
        return {mixer_class(part).family for parts in self._parts for part in parts}

    @property
    def attention(self) -> float:
        """Share of the token mixers that are full attention, or have it in one branch."""
        full = sum(any(mixer_class(part).family == "attention" for part in parts) for parts in self._parts)
        return full / len(self._parts)

    def to_yaml(self) -> str:
        """Its layout as YAML, with where it comes from in comments."""
        about = f"{self.name} ({self.year}): {self.source}" + f"; {self.note}" * bool(self.note)
        return f"# {' '.join(about.split())}\n{self.layout.to_yaml()}"


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
