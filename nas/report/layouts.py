"""The layouts of a page: the front, published ones beside it, and those that were not tried."""

from collections.abc import Mapping, Sequence
from html import escape

from nas.config import Config
from nas.report.markup import legend, strip
from nas.results.queue import untried
from nas.results.trials import Trial, best_first, find_objectives, front_of
from search_space.cost.cost import cost
from search_space.layouts.resize import resize
from tracking.picture.palette import mixer_colours
from tracking.records import TrialRecord


def front_section(
    trials: Sequence[Trial],
    records: Mapping[int, TrialRecord],
    colours: Mapping[str, str],
    knee: int | None,
    config: Config,
) -> str:
    """The front as strips at the target's depth, best first in the first cost, then published layouts."""
    names = config.search.objectives
    front = front_of(trials, names)
    if not front:
        return "<p>No layout has been trained to its end yet.</p>"
    beside = best_first([t for t in trials if t.origin is not None and not t.on_front], names)
    parts = [legend(colours), '<ol class="layouts front">', *(_card(t, records, colours, knee, config) for t in front)]
    parts.append("</ol>")
    if beside:
        parts.append('<h3>Published layouts that are not on the front</h3><ol class="layouts">')
        parts += [_card(t, records, colours, knee, config) for t in beside]
        parts.append("</ol>")
    return "".join([*parts, _not_tried(trials, colours, config)])


def _card(
    trial: Trial,
    records: Mapping[int, TrialRecord],
    colours: Mapping[str, str],
    knee: int | None,
    config: Config,
) -> str:
    values = []
    for name, objective in find_objectives(config.search.objectives).items():
        spread = trial.spread(name)
        more = "" if spread is None else f" <small>± {objective.show(spread)}</small>"
        unit = f" {objective.unit}" if objective.unit else ""
        values.append(
            f"<span><b>{objective.show(trial.value(name))}</b>{unit}{more} <small>{escape(name)}</small></span>"
        )
    seeds = f"{len(trial.seeds)} seed{'s' * (len(trial.seeds) != 1)}"
    values.append(f"<span>{trial.confidence:.0%} <small>confidence, {seeds}</small></span>")
    marks = [escape(trial.name)] * (trial.origin is not None) + ["knee: the best trade"] * (trial.number == knee)
    return (
        f'<li data-trial="{trial.number}"><span class="number">{trial.number}</span>'
        f"{strip(records[trial.number].layers, colours)}"
        f'<p class="values">{"".join(values)}</p>'
        f'<p class="notation"><code>{escape(str(trial.design))}</code>'
        + "".join(f" <mark>{mark}</mark>" for mark in marks)
        + f' <button type="button" class="copy" data-trial="{trial.number}">copy YAML</button></p></li>'
    )


def _not_tried(trials: Sequence[Trial], colours: Mapping[str, str], config: Config) -> str:
    """Published layouts that the space holds and the search did not come to, with their prices."""
    left = untried(trials, config)
    if not left:
        return ""
    of = {n: o for n, o in find_objectives(config.search.objectives).items() if o.of_cost is not None}
    target, items = config.target, []
    for origin in left:
        layers = [str(block) for block in resize(origin.layout, target.layers, target.resize).layers]
        price = cost(origin.layout, target)
        values = ", ".join(f"{o.show(o.of_cost(price))} {o.unit}".strip() for o in of.values() if o.of_cost)
        known = {**mixer_colours(layers), **colours}
        items.append(f"<li>{strip(layers, known)}<p>{escape(origin.name)} <small>{values}</small></p></li>")
    return (
        f"<details><summary>{len(left)} published layouts that the space holds were not tried</summary>"
        f'<ol class="layouts untried">{"".join(items)}</ol></details>'
    )
