"""Puts a page together."""

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template

from nas.config import Config
from nas.report.account import cost_section, limits_section, repeat_section
from nas.report.effects import effects
from nas.report.findings import curves_section, effects_section, tasks_section
from nas.report.layouts import front_section
from nas.report.points import chart_data
from nas.results.front import knee_number, record
from nas.results.known import known_agreement
from nas.results.records import RunRecord
from nas.results.trials import Trial, best_first, find_objectives, front_of
from nas.search.setup import trainable
from search_space.errors import InputError
from search_space.space.space import Space
from tracking.picture.palette import mixer_colours

MOST_DRAWN = 2000
"""Layouts in the chart: front and published ones, and others evenly spread over the search."""
MOST_SHOWN = 40
"""Layouts in the tables and curves: those of the front first, then published ones."""


def report_page(trials: Sequence[Trial], records: Sequence[RunRecord], config: Config, audit: str | None = None) -> str:
    """A search as one page of HTML that loads nothing and works offline.

    Args:
        trials: all of the search, with the front marked.
        records: its runs.
        config: of the search.
        audit: what `nas audit` found, in a line; None where there was none.
    """
    complete = [t for t in trials if t.state == "complete"]
    shown = {t.number: record(t, config) for t in complete}
    space = _space(config)
    blocks = [] if space is None else [str(block) for block in space.blocks.values()]
    used = {layer for each in shown.values() for layer in each.layers}
    colours = mixer_colours([*blocks, *used])
    own = {label: colour for label, colour in colours.items() if label in used}
    knee = knee_number(trials, config)
    names = config.search.objectives
    front = front_of(trials, names)
    beside = best_first([t for t in complete if t.origin is not None and not t.on_front], names)
    listed = [*front, *beside][:MOST_SHOWN]
    measured = [name for name, objective in find_objectives(names).items() if objective.measured]
    gains = (
        ""
        if space is None
        else "".join(effects_section(effects(trials, space, name), colours, config.space.layers) for name in measured)
    )
    runs = sum(len(t.seeds) for t in complete)
    drawn = _drawn(complete)
    some = f", {len(drawn)} of them drawn" if len(drawn) < len(complete) else ""
    return _template("page.html").substitute(
        title=escape(config.name),
        about=escape(f"{config.target.description}  ·  {len(complete)} layouts{some}, {runs} runs"),
        css=_text("page.css"),
        js=_text("page.js"),
        data=_embedded(chart_data(drawn, shown, own, knee, config)),
        layouts=front_section(complete, shown, own, knee, config),
        effects=gains or "<p>The space of this search cannot be had at this target.</p>",
        tasks=tasks_section(listed, shown),
        curves=curves_section(listed),
        spent=cost_section(trials, records, space, config),
        repeat=repeat_section(config),
        limits=limits_section(trials, config, audit, known_agreement(config)),
    )


def _drawn(trials: Sequence[Trial]) -> list[Trial]:
    """Those that the chart shows, in their order."""
    always = [t for t in trials if t.on_front or t.origin is not None]
    others = [t for t in trials if not (t.on_front or t.origin is not None)]
    room = max(0, MOST_DRAWN - len(always))
    if len(others) > room:
        others = [others[len(others) * i // room] for i in range(room)]
    return sorted([*always, *others], key=lambda t: t.number)


def _space(config: Config) -> Space | None:
    """The space of the search; None where no layout keeps the budgets at another target than the search's."""
    try:
        return Space(trainable(config.space, config.target), config.target)
    except InputError:
        return None


def _embedded(data: object) -> str:
    """JSON that may stand in a script element, whatever texts it holds."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _text(name: str) -> str:
    return files("nas.report").joinpath(name).read_text(encoding="utf-8")


def _template(name: str) -> Template:
    return Template(_text(name))
