"""The token mixers that there are, at the target's scale and the proxy's, and the published layouts, for people."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from operator import eq, ge, gt, le, lt
from typing import Any

import torch

from kernels.backend import forms_on_a_gpu
from nas.config import Config
from nas.results.table import Row, Table
from search_space.errors import InputError, one_of
from search_space.layouts.published import Published, published_layouts
from search_space.mixers import MIXERS
from search_space.parts.below import blank
from search_space.parts.build import build_mixer, mixer_class, options_of
from search_space.parts.costs import PartCost
from search_space.parts.families import FAMILIES
from search_space.parts.part import Part
from search_space.scale import Scaled
from tracking.picture.palette import mixer_colours

COMPARISON = re.compile(r"\s*(<=|>=|<|>|==?|)\s*(\d+(?:\.\d*)?|\.\d+)\s*")
OPERATORS: dict[str, Callable[[float, float], bool]] = {"<=": le, ">=": ge, "<": lt, ">": gt}


@dataclass(frozen=True, kw_only=True)
class MixerRow:
    """A token mixer in the catalogue.

    Args:
        name: as layouts and spaces name it.
        family: as in `search_space.parts.families.FAMILIES`.
        source: the paper that it follows.
        text: its documentation.
        options: its options, with their defaults.
        scaled: with these defaults at both scales; None for a mixer that needs options.
        backend: what a GPU runs: "triton", "chunked" where one of its operators has no Triton form, "torch" where it
            calls no operator, "" where it needs options.
    """

    name: str
    family: str
    source: str
    text: str
    options: Mapping[str, Any]
    scaled: Scaled | None
    backend: str


def mixer_rows(config: Config, names: Sequence[str] | None = None) -> list[MixerRow]:
    """Mixers at the scales of a configuration, all of the catalogue by default.

    Raises:
        InputError: there is no mixer of that name.
    """
    return [_row(name, config) for name in (MIXERS.names() if names is None else names)]


def _row(name: str, config: Config) -> MixerRow:
    kind, scaled, backend = mixer_class(Part(name)), None, ""
    try:
        scaled = config.scale.scaled(Part(name))
        backend = _backend(scaled.part, config)
    except InputError as error:
        if name not in error.key:  # then it is not that the mixer lacks an option
            raise
    return MixerRow(
        name=name,
        family=kind.family,
        source=kind.source,
        text=inspect.getdoc(kind) or "",
        options=options_of(kind),
        scaled=scaled,
        backend=backend,
    )


def _backend(part: Part, config: Config) -> str:
    mixer = build_mixer(part, config.scale.sizes(1).dims())
    with forms_on_a_gpu() as forms, torch.no_grad():
        x = torch.zeros(1, 2, config.proxy.width)
        mixer(x, None, *([blank(mixer, x, 2)] if mixer.takes_below else []))
    return "torch" if not forms else "chunked" if "chunked" in forms else "triton"


def table(rows: Sequence[MixerRow], context: int, length: int) -> Table:
    """By family: what each mixer keeps of a sequence, what a decode step computes, its paper, and what a GPU runs.

    Args:
        rows: of the catalogue.
        context: tokens that a sequence of the target holds.
        length: tokens of a sequence of the proxy.
    """
    lines = []
    for family in dict.fromkeys([*FAMILIES, *(row.family for row in rows)]):
        members = [row for row in rows if row.family == family]
        if members:
            lines.append(Row(text=f"{family}: {FAMILIES[family]}" if family in FAMILIES else "of no family"))
            lines += [Row(cells=_cells(row, context, length), text=row.backend) for row in members]
    below = [
        "state: elements that a layer keeps of a sequence; cache: those for each token",
        "(w: of a window, l: for each doubling of its tokens); FLOPs: of a step that",
        "follows a full context. Each of the target, and beside it of the proxy.",
    ]
    if any(row.scaled is not None and row.scaled.floor for row in rows):
        below.append("*: larger than in proportion: no state has fewer elements than the model is wide")
    return Table(
        heads=("mixer", "state", "proxy ", "cache ", "proxy ", "FLOPs", "proxy", "arXiv", "on GPU"),
        rows=tuple(lines),
        below=tuple(below),
        words=(0, 7),
        gap=1,
        colours=mixer_colours(row.name for row in rows),
    )


def _cells(row: MixerRow, context: int, length: int) -> tuple[str, ...]:
    cells = [""] * 6
    if row.scaled is not None:
        target, proxy, floor = row.scaled.target, row.scaled.proxy, "*" if row.scaled.floor else " "
        state = [_short(target.state_elements), _short(proxy.state_elements) + floor]
        flops = [_short(target.step_flops(context)), _short(proxy.step_flops(length))]
        cells = [*state, _growth(target), _growth(proxy), *flops]
    paper = re.search(r"\d{4}\.\d{5}", row.source)
    return (f"  {row.name}", *cells, paper[0] if paper else "")


def _growth(cost: PartCost) -> str:
    """Elements of the caches for each token, and a letter for those that do not grow with every one of them."""
    caches = [cache for cache in cost.caches if cache.owned]
    elements = sum(cache.elements / cache.every for cache in caches)
    level = "l" * any(cache.levels for cache in caches)
    window = "w" * (bool(caches) and all(cache.window is not None for cache in caches))
    return _short(elements) + (level or window or " ")


def _short(number: float) -> str:
    """A number in five characters at most: 512, 4.1k, 33.6M."""
    units = ["", "k", "M", "G", "T"]
    while number >= 999.5 and len(units) > 1:
        number /= 1000
        del units[0]
    return f"{number:.3g}{units[0]}"


def describe(row: MixerRow) -> str:
    """All that the catalogue knows of one mixer: its documentation, options with defaults, and sizes at both scales."""
    lines = [
        row.text,
        "",
        f"source:  {row.source or 'not stated'}",
        f"family:  {row.family} ({FAMILIES.get(row.family, 'unknown')})",
    ]
    lines.append("options: " + (", ".join(f"{key}={value}" for key, value in row.options.items()) or "none"))
    if row.scaled is not None:
        lines.append(f"proxy:   {row.scaled.part}")
        names = {"parameters": "parameters", "state_elements": "state", "conv_elements": "inputs that are kept"}
        for field, name in names.items():
            target, proxy = getattr(row.scaled.target, field), getattr(row.scaled.proxy, field)
            lines.append(f"{name}: {target:,} in the target, {proxy:,} in the proxy")
    return "\n".join(lines) + "\n"


def find_published(name: str, key: str = "NAME") -> Published:
    """The published layout of that name; upper and lower case are one.

    Raises:
        InputError: there is none; names `key` and the names that are near.
    """
    by_name = {each.name.lower(): each for each in published_layouts()}
    wanted = name.lower()
    if wanted not in by_name:
        near = [n for n in by_name if wanted in n] or get_close_matches(wanted[:100], by_name, 5, 0.4) or list(by_name)
        names = ", ".join(by_name[n].name for n in near[:8])
        raise InputError(key, name, f"a name that `nas published` lists, such as {names}")
    return by_name[wanted]


def select_published(
    mixer: str | None = None, family: str | None = None, year: str | None = None, attention: str | None = None
) -> list[Published]:
    """Published layouts that fit all that is given.

    Args:
        mixer: name of a mixer that some layer has.
        family: of a mixer that some layer has.
        year: a comparison such as >=2024, or a year.
        attention: likewise, of the share of full attention among the token mixers, as in <=0.25.

    Raises:
        InputError: no such mixer or family, or no comparison.
    """
    if mixer is not None and mixer not in MIXERS.names():
        raise InputError("--mixer", mixer, one_of(mixer, MIXERS.names()))
    if family is not None and family not in FAMILIES:
        raise InputError("--family", family, one_of(family, list(FAMILIES)))
    fits_year, fits_share = _comparison("--year", year), _comparison("--attention", attention)
    return [
        each
        for each in published_layouts()
        if (mixer is None or mixer in each.mixers)
        and (family is None or family in each.families)
        and fits_year(each.year)
        and fits_share(each.attention)
    ]


def _comparison(key: str, text: str | None) -> Callable[[float], bool]:
    if text is None:
        return lambda value: True
    match = COMPARISON.fullmatch(text)
    if match is None:
        raise InputError(key, text, "a number, with <, <=, >= or > ahead of it")
    compare, number = OPERATORS.get(match[1], eq), float(match[2])
    return lambda value: compare(value, number)


def published_table(found: Sequence[Published]) -> Table:
    """A line for each: name, year, depth, share of full attention, and the layout."""
    return Table(
        heads=("name", "year", "layers", "attention", "layout"),
        rows=tuple(
            Row(
                cells=(each.name, str(each.year), str(len(each.layout.layers)), f"{each.attention:.0%}"),
                text=str(each.layout),
            )
            for each in found
        ),
        words=(0,),
        cut=True,
        colours=mixer_colours({str(block) for each in found for block in set(each.layout.layers)}),
    )
