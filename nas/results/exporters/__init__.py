"""The catalogue of export formats. Each is a function (layout, target) -> text of the file.

A new format is a file beside this one and a line here; a user's own comes in by a dotted path.
"""

from search_space.catalogue import Catalogue

EXPORTERS = Catalogue("exporter", {"yaml": "nas.results.exporters.neutral:export"})

__all__ = ["EXPORTERS"]
