"""The catalogue of export formats: what writes a layout for other tools.

A new format is a file beside this one and a line here; a user's own comes in by a dotted path or an entry point.
`nas.testing.ExporterContract` is the suite that each passes.
"""

from typing import Protocol

from search_space.catalogue import Catalogue
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.layout import Layout


class Exporter(Protocol):
    """What writes one format: an object, a class that needs no arguments, or a function with the attribute."""

    suffix: str
    """End of a file's name, without the dot."""

    def __call__(self, layout: Layout, target: Target) -> str:
        """The text of a file: the layout at the target's depth and sizes.

        Raises:
            InputError: the format cannot hold the layout; says why.
        """
        ...


EXPORTERS = Catalogue("exporter", {"yaml": "nas.results.exporters.neutral:NeutralYaml"})
"""Exporters by name."""


def find_exporter(name: str) -> Exporter:
    """The exporter called `name` in the catalogue, or at a dotted path.

    Raises:
        InputError: there is none, or it has no suffix.
    """
    found = EXPORTERS.get(name, key="--format")
    exporter = found() if isinstance(found, type) else found
    if not callable(exporter) or not isinstance(getattr(exporter, "suffix", None), str):
        raise InputError("--format", name, "an exporter: a function of (layout, target) with an attribute `suffix`")
    return exporter  # type: ignore[return-value]


__all__ = ["EXPORTERS", "Exporter", "find_exporter"]
