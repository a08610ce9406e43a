"""A comparison of searches as a table and as CSV."""

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nas.results.trials import Trial, find_objectives

if TYPE_CHECKING:
    from nas.results.compare import Comparison


def comparison_csv(found: "Comparison") -> str:
    """The front of all; a column for each search."""
    out, names = io.StringIO(), [part.name for part in found.parts]
    writer = csv.writer(out, lineterminator="\n")
    objectives = found.config.search.objectives
    writer.writerow(["origin", *objectives, "seeds", "confidence", *names, "layout"])
    for row in found.rows():
        values = [f"{row[name]:.6g}" for name in objectives]
        trials = [row["found_by"].get(name, "") for name in names]
        writer.writerow([row["origin"], *values, row["seeds"], f"{row['confidence']:.3g}", *trials, row["layout"]])
    return out.getvalue()


def comparison_table(found: "Comparison") -> str:
    """The searches, then the front of all and who found what."""
    objectives = find_objectives(found.config.search.objectives)
    runs = sum(len(trial.seeds) for trial in found.trials)
    sums = [(p.name, p.layouts, p.runs, p.on_front, p.hypervolume) for p in found.parts]
    sums.append(("together", len(found.trials), runs, len(found.members), found.hypervolume))
    searches = [(name, *map(str, counts), f"{volume:.4f}") for name, *counts, volume in sums]
    points = [
        (*(o.show(t.value(n)) for n, o in objectives.items()), str(len(t.seeds)), f"{t.confidence:.0%}")
        for t in found.members
    ]
    heads = [f"{name} ({o.unit})" if o.unit else name for name, o in objectives.items()]
    layouts = ["layout", *(_described(found, trial) for trial in found.members)]
    lines = _columns([(*heads, "seeds", "sure"), *points])
    reference = ", ".join(f"{name} {objectives[name].show(value)}" for name, value in found.reference.items())
    return "\n".join(
        [
            f"{len(found.parts)} searches that may be compared: same target, proxies, training, tasks and objectives.",
            *_columns([("search", "layouts", "runs", "on the front", "hypervolume"), *searches]),
            f"hypervolume: share of the box up to {reference}, costs by their logarithm.",
            "",
            "The front of all, and who found what:",
            *(f"{line}  {layout}" for line, layout in zip(lines, layouts, strict=True)),
            "",
        ]
    )


def _described(found: "Comparison", trial: Trial) -> str:
    origin = f"   [{trial.name}]" if trial.origin else ""
    return f"{trial.design}{origin}   <- " + ", ".join(f"{n} {i}" for n, i in found.found_by[trial.number].items())


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with columns of one width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
