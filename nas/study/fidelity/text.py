"""The report as text: tables for the terminal, Markdown and JSON."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from nas.results.table import Row, Table
from nas.study.fidelity.agreement import FEWEST_SOURCES
from nas.study.fidelity.baselines import BASELINES
from nas.study.fidelity.report import NEAR, Axis, Report
from nas.study.fidelity.scores import LOSS

MOST_LISTED = 8
"""Layouts that the terminal lists of those that cannot be trained."""


def to_json(report: Report) -> str:
    """All of it, as JSON; what is not known is null."""
    return json.dumps(_finite(asdict(report)), indent=1) + "\n"


def to_tables(report: Report) -> list[Table]:
    """The report for a terminal."""
    above = tuple(_counts(report))
    rows = [_axis_row(axis) for axis in report.axes]
    heads = ("axis", "statements", "sources", "proxies", "ties", "baselines; proxies above the best of these")
    found = [Table(heads=heads, rows=tuple(rows), above=above, below=tuple(_notes(report)), words=(0,))]
    sources = _source_rows(report)
    if sources:
        rows = [Row(cells=tuple(row)) for row in sources]
        found.append(Table(heads=("source", *(a.name for a in report.axes)), rows=tuple(rows), words=(0,)))
    tasks = _task_rows(report)
    if tasks:
        rows, above = [Row(cells=tuple(row)) for row in tasks], ("single scores, which decide nothing:",)
        found.append(Table(heads=tuple(_task_columns(report)), rows=tuple(rows), above=above, words=(0,)))
    left_out = [Row(text=f"{text}: {count} statements; {why}") for text, (count, why) in report.unmapped.items()]
    if left_out:
        more = (f"and {len(left_out) - MOST_LISTED} more (report.md)",) if len(left_out) > MOST_LISTED else ()
        found.append(Table(above=("cannot be trained:",), rows=tuple(left_out[:MOST_LISTED]), below=more))
    return found


def _axis_row(axis: Axis) -> Row:
    statements, sources, proxies, ties, *shares, above = _axis_cells(axis)
    text = ", ".join(f"{name} {share}" for name, share in zip(BASELINES, shares, strict=True))
    return Row(cells=(axis.name, statements, sources, proxies, ties), text=f"{text}; {above}")


def to_markdown(report: Report) -> str:
    """The report as a page, with everything that is left out by name."""
    axes = [[axis.name, *_axis_cells(axis)] for axis in report.axes]
    parts = [
        f"# Agreement with published models: {report.about['config']}",
        *(f"\n{line}" for line in _counts(report)),
        "\n![Agreement by axis](fidelity.svg)\n",
        *_markdown(["axis", *AXIS_COLUMNS], axes),
        *(f"\n{line}" for line in _notes(report)),
    ]
    sources, tasks = _source_rows(report), _task_rows(report)
    if sources:
        parts += ["\n## By source\n", *_markdown(["source", *(axis.name for axis in report.axes)], sources)]
    if tasks:
        parts += ["\n## Single scores, which decide nothing\n", *_markdown(_task_columns(report), tasks)]
    if report.unmapped:
        rows = [[text, str(count), why] for text, (count, why) in report.unmapped.items()]
        parts += ["\n## Layouts that cannot be trained\n", *_markdown(["layout", "statements", "why"], rows)]
    if report.failures:
        parts += ["\n## Runs that failed\n", *_markdown(["layout", "error"], report.failures.items())]
    rows = [
        [run["layout"], str(run["layers"]), str(run["seeds"]), _number(run["recall"]), _number(run[LOSS])]
        for run in report.runs
    ]
    parts += ["\n## Runs\n", *_markdown(["layout", "layers trained", "seeds", "recall", "loss on hits"], rows)]
    return "\n".join(parts) + "\n"


AXIS_COLUMNS = ["statements", "sources", "proxies", "ties", *BASELINES, "proxies above the best of these"]


def _axis_cells(axis: Axis) -> list[str]:
    sources = f"{axis.source_count}{'' if axis.draws_sources else ' *'}"
    if axis.proxies is None or axis.above is None:
        proxies = ["-", "-", *map(str, axis.baselines.values()), "-"]
    else:
        above = f"{axis.above.value:+.2f} [{axis.above.low:+.2f}, {axis.above.high:+.2f}] ({axis.best})"
        proxies = [str(axis.proxies), f"{axis.ties:.0%}", *(str(share) for share in axis.baselines.values()), above]
    return [str(axis.statements), sources, *proxies]


def _counts(report: Report) -> list[str]:
    about = report.about
    lines = [
        f"{about['statements']} statements ({about['group']}), {about['clear']} of them with a margin that reaches "
        f"their noise; {about['mapped']} of these can be trained, as {about['runs']} runs of {about['layers']} layers "
        f"in all; {about['judged']} are judged, by {about['trained']} runs with {about['seeds']} seeds "
        f"({about['hours']:.2f} hours of training).",
    ]
    if about["same_proxy"]:
        lines.append(f"{about['same_proxy']} statements have the same proxy on both sides: a tie, which counts half.")
    if report.unknown_mixers:
        unknown = ", ".join(f"{name} ({count})" for name, count in report.unknown_mixers.items())
        lines.append(f"Mixers that are not in the catalogue, with the statements about them: {unknown}.")
    if report.failures:
        lines.append(f"{len(report.failures)} runs failed: {', '.join(report.failures)}.")
    return lines


def _notes(report: Report) -> list[str]:
    lines = ["Shares of statements ordered alike, each source weighing alike; in brackets 95% bootstrap intervals."]
    if not all(axis.draws_sources for axis in report.axes):
        lines.append(f"* fewer than {FEWEST_SOURCES} sources: the interval comes from drawing layouts alone.")
    known = {name: noise for name, noise in report.noise.items() if noise is not None}
    if known:
        noise = ", ".join(f"{name} {value:.3f}" for name, value in known.items())
        lines.append(f"Standard deviation between seeds: {noise}. Differences below one standard error are ties.")
    elif report.about["trained"]:
        lines.append("No run has two seeds: the proxies' noise is not known, and only equal scores are ties.")
    if not math.isnan(report.tau):
        ratio = "not known" if math.isnan(report.tau_at_ratio) else f"{report.tau_at_ratio:.2f}"
        lines.append(
            f"Agreement between seeds (tau): {report.tau:.2f} over all runs, {ratio} among mixers at one ratio."
        )
    ends = [f"{task} {low:.0%} / {high:.0%}" for task, (low, high) in report.ends.items()]
    if ends:
        lines.append(f"Runs at the floor or under it / at the ceiling, within {NEAR}: {', '.join(ends)}.")
    return lines


def _source_rows(report: Report) -> list[list[str]]:
    names = dict.fromkeys(name for axis in report.axes for name in axis.sources)
    rows = []
    for name in names:
        cells = [axis.sources.get(name) for axis in report.axes]
        rows.append([name, *("" if cell is None else f"{cell[0]:.2f} ({cell[1]})" for cell in cells)])
    return rows


def _task_columns(report: Report) -> list[str]:
    return ["score", *report.tasks]


def _task_rows(report: Report) -> list[list[str]]:
    names = dict.fromkeys(name for scores in report.tasks.values() for name in scores)
    return [[name, *(_number(scores.get(name), ".2f") for scores in report.tasks.values())] for name in names]


def _number(value: float | None, form: str = ".3f") -> str:
    return "" if value is None else format(value, form)


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]


def _finite(value: Any) -> Any:
    """Plain data without NaN, which is no JSON."""
    if isinstance(value, Mapping):
        return {str(name): _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
