"""The catalogue of export formats: what writes a layout for other tools.

A new format is a file beside this one and a line here; a user's own comes in by a dotted path or an entry point.
`nas.testing.ExporterContract` is the suite that each passes.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

from search_space.catalogue import Catalogue
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.layout import Layout

SUFFIX = re.compile(r"([A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*)?")


class Exporter(Protocol):
    """What writes one format: an object, a class that needs no arguments, or a function with the attribute.

    It may also have: `holds`, `tool` and `checked`, texts for `nas formats`; `refusal(block, target)`, what was
    expected in the place of a block that it cannot hold, or None, for `space.trainable_with`; and `read(fields)`, the
    layout and sizes of what it wrote, for `nas cost`.
    """

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
        "qwen3_next": "nas.results.exporters.qwen3_next:Qwen3Next",
        "qwen3_5": "nas.results.exporters.qwen3_5:Qwen35",
        "olmo_hybrid": "nas.results.exporters.olmo_hybrid:OlmoHybrid",
        "nemotron_h": "nas.results.exporters.nemotron_h:NemotronH",
        "granite_hybrid": "nas.results.exporters.granite_hybrid:Granite",
        "falcon_h1": "nas.results.exporters.falcon_h1:FalconH1",
        "jamba": "nas.results.exporters.jamba:Jamba",
        "kimi_linear": "nas.results.exporters.kimi_linear:KimiLinear",
        "lfm2": "nas.results.exporters.lfm2:Lfm2",
        "minimax": "nas.results.exporters.minimax:MiniMax",
        "recurrent_gemma": "nas.results.exporters.recurrent_gemma:RecurrentGemma",
        "fla": "nas.results.exporters.fla:Fla",
        "fast_llm": "nas.results.exporters.fast_llm:FastLlm",
        "megatron": "nas.results.exporters.megatron:Megatron",
    },
    _misfit,
)
"""Exporters by name."""


def find_exporter(name: str, key: str = "--format") -> Exporter:
    """The exporter called `name` in the catalogue, or at a dotted path.

    Raises:
        InputError: there is none; names `key`.
    """
    found = EXPORTERS.get(name, key=key)
    return found() if isinstance(found, type) else found


def formats_that_hold(layout: Layout, target: Target) -> list[str]:
    """Names of the formats that can hold a layout at a target's sizes."""
    found = []
    for name in EXPORTERS.names():
        with suppress(InputError):
            find_exporter(name)(layout, target)
            found.append(name)
    return found


__all__ = ["EXPORTERS", "Exporter", "find_exporter", "formats_that_hold"]
