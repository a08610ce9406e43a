"""Sections of a page that say what was measured: effects of parts, recall by task, curves."""

from collections.abc import Mapping, Sequence
from html import escape

from nas.report.effects import Effects
from nas.report.markup import table
from nas.results.trials import Trial
from tracking.records import TrialRecord

CURVE = (168, 92)
"""Width and height of a small chart of a learning curve."""


def effects_section(found: Effects | None, colours: Mapping[str, str], layers: int) -> str:
    """A table of gains: blocks by depth.

    Args:
        found: the gains.
        colours: name of a layer -> colour.
        layers: depth of the proxies.
    """
    if found is None:
        return "<p>Too few layouts of the space were trained for a model of it.</p>"
    largest = max((abs(each[0]) for row in found.gains for each in row if each), default=0.0) or 1.0
    head = ["block"]
    for group in found.depths:
        places = ", ".join(map(str, group))
        share = f"{group[0] / layers:.0%} to {(group[-1] + 1) / layers:.0%}"
        head.append(f"layer {places}<br><small>{share}</small>")
    rows = []
    for block, row in zip(found.blocks, found.gains, strict=True):
        swatch = f'<i style="background:{colours[block]}"></i>' if block in colours else ""
        rows.append((f"{swatch}{escape(block)}", [_gain(each, largest) for each in row]))
    caption = (
        f"Gain in {escape(found.objective)} of a block at a depth over the mean of all blocks there, with its standard "
        f"error, averaged over random layouts: from the search's model of {found.runs} runs. Coloured where it is more "
        "than twice its error: blue is better, orange is worse."
    )
    return table(head, rows, caption, "effects")


def _gain(each: tuple[float, float] | None, largest: float) -> str:
    if each is None:
        return "<td></td>"
    gain, error = each
    kind = "unsure" if abs(gain) < 2 * error else "better" if gain > 0 else "worse"
    return f'<td class="{kind}" style="--a:{abs(gain) / largest:.2f}">{gain:+.2f} <small>± {error:.2f}</small></td>'


def tasks_section(trials: Sequence[Trial], records: Mapping[int, TrialRecord]) -> str:
    """Accuracy at the end of training, of each layout by task and difficulty.

    Args:
        trials: to show, in their order.
        records: number of a trial -> how it is shown.
    """
    scores = {t.number: t.mean("accuracy") for t in trials}
    names = list(dict.fromkeys(name for each in scores.values() for name in each))
    if not names:
        return "<p>No scores by task are on record.</p>"
    tasks = [name for name in names if "/" not in name]
    ordered = [n for task in tasks for n in (task, *(m for m in names if m.startswith(f"{task}/")))]
    head = ["layout"]
    for name in ordered:
        task, _, group = name.partition("/")
        head.append(f"{escape(group.replace('_', ' '))}" if group else f"<b>{escape(task.replace('_', ' '))}</b>")
    rows = []
    for t in trials:
        origin = "" if t.origin is None else f" {escape(t.name)}"
        rows.append((f"{t.number}{origin}", [_score(scores[t.number].get(name)) for name in ordered]))
    caption = "Share of answers that are right at the end of training, mean over seeds: each task, then its levels."
    return table(head, rows, caption, "tasks")


def _score(value: float | None) -> str:
    return "<td></td>" if value is None else f'<td style="--a:{value:.2f}">{value:.2f}</td>'


def curves_section(trials: Sequence[Trial]) -> str:
    """Recall over the steps of training: a small chart for each layout, its seeds drawn, the others faint behind."""
    curves = {t.number: [r.curves["recall"] for r in t.results if r.curves.get("recall")] for t in trials}
    known = [curve for each in curves.values() for curve in each]
    if not known:
        return "<p>No curves are on record.</p>"
    last = max(step for curve in known for step, _ in curve)
    behind = "".join(_line(curve, last) for curve in known)
    width, height = CURVE
    charts = []
    for t in trials:
        own = "".join(_line(curve, last) for curve in curves[t.number])
        name = f"{t.number} {t.name}" if t.origin else str(t.number)
        charts.append(
            f'<figure><svg viewBox="0 0 {width} {height}" role="img" aria-label="recall of {escape(name)}">'
            f'<use href="#behind"/><g class="own">{own}</g>'
            f'<path class="frame" d="M1 0V{height - 1}H{width}"/></svg><figcaption>{escape(name)}</figcaption></figure>'
        )
    return (
        f'<svg width="0" height="0" aria-hidden="true"><defs><g id="behind" class="behind">{behind}</g></defs></svg>'
        f"<p>Recall from 0 to 1 over {last:,} steps; a line for each seed, those of the other layouts behind.</p>"
        f'<div class="curves">{"".join(charts)}</div>'
    )


def _line(curve: Sequence[tuple[int, float]], last: int) -> str:
    width, height = CURVE
    points = " ".join(f"{width * step / last:.1f},{(height - 2) * (1 - value) + 1:.1f}" for step, value in curve)
    return f'<polyline points="{points}"/>'
