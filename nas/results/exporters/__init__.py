"""The catalogue of export formats: what writes a layout for other tools.

A new format is a file beside this one and a line here; a user's own comes in by a dotted path or an entry point.
`nas.testing.ExporterContract` is the suite that each passes.
"""

import re
from collections.abc import Mapping
from typing import Any, Protocol

from search_space.catalogue import Catalogue
from search_space.cost.target import Target
from search_space.layouts.layout import Layout

SUFFIX = re.compile(r"([A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*)?")


class Exporter(Protocol):
    """What writes one format: an object, a class that needs no arguments, or a function with the attribute."""

    suffix: str
    """End of a file's name, without the dot; empty for a format that is a folder."""

    def __call__(self, layout: Layout, target: Target) -> str | Mapping[str, str]:
        """The layout at the target's depth and sizes: the text of a file; of a folder, names of files -> their texts.

        Raises:
            InputError: the format cannot hold the layout; says why.
        """
        ...


def _misfit(found: Any) -> str | None:
    suffix = getattr(found, "suffix", None)
    fits = callable(found) and isinstance(suffix, str) and SUFFIX.fullmatch(suffix)
    return None if fits else "an exporter: a function of (layout, target) with an attribute `suffix`, such as yaml"


EXPORTERS = Catalogue(
    "exporter",
    {
        "yaml": "nas.results.exporters.neutral:NeutralYaml",
        "hf": "nas.results.exporters.huggingface:HuggingFace",
        "qwen3_next": "nas.results.exporters.gated_deltanet:Qwen3Next",
        "qwen3_5": "nas.results.exporters.gated_deltanet:Qwen35",
        "olmo_hybrid": "nas.results.exporters.gated_deltanet:OlmoHybrid",
        "nemotron_h": "nas.results.exporters.mamba:NemotronH",
        "granite_hybrid": "nas.results.exporters.mamba:Granite",
        "falcon_h1": "nas.results.exporters.mamba:FalconH1",
        "jamba": "nas.results.exporters.mamba:Jamba",
        "kimi_linear": "nas.results.exporters.others:KimiLinear",
        "lfm2": "nas.results.exporters.others:Lfm2",
        "minimax": "nas.results.exporters.others:MiniMax",
        "recurrent_gemma": "nas.results.exporters.others:RecurrentGemma",
    },
    _misfit,
)
"""Exporters by name."""


def find_exporter(name: str) -> Exporter:
    """The exporter called `name` in the catalogue, or at a dotted path.

    Raises:
        InputError: there is none.
    """
    found = EXPORTERS.get(name, key="--format")
    return found() if isinstance(found, type) else found


__all__ = ["EXPORTERS", "Exporter", "find_exporter"]
