"""A comparison of searches as tables and as CSV."""

import csv
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from nas.results.front_table import colours_of, head, layers_of
from nas.results.table import Row, Table
from nas.results.trials import Trial, find_objectives
from search_space.cost.objectives import Objective

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


def comparison_tables(found: "Comparison") -> list[Table]:
    """The searches, then the front of all and who found what."""
    objectives = find_objectives(found.config.search.objectives)
    runs = sum(len(trial.seeds) for trial in found.trials)
    sums = [(p.name, p.layouts, p.runs, p.on_front, p.hypervolume) for p in found.parts]
    sums.append(("together", len(found.trials), runs, len(found.members), found.hypervolume))
    reference = ", ".join(f"{name} {objectives[name].show(value)}" for name, value in found.reference.items())
    searches = Table(
        heads=("search", "layouts", "runs", "on the front", "hypervolume"),
        rows=tuple(Row(cells=(name, *map(str, counts), f"{volume:.4f}")) for name, *counts, volume in sums),
        above=(
            f"{len(found.parts)} searches that may be compared: same target, proxies, training, tasks and objectives.",
        ),
        below=(f"hypervolume: share of the box up to {reference}, costs by their logarithm.",),
        words=(0,),
    )
    front = Table(
        heads=(*(head(name, o) for name, o in objectives.items()), "seeds", "confidence", "layout"),
        rows=tuple(_row(found, trial, objectives) for trial in found.members),
        above=("The front of all, and who found what:",),
        colours=colours_of(found.members),
    )
    return [searches, front]


def _row(found: "Comparison", trial: Trial, objectives: Mapping[str, Objective]) -> Row:
    values = [o.show(trial.value(name)) for name, o in objectives.items()]
    origin = f"   [{trial.name}]" if trial.origin else ""
    finders = ", ".join(f"{name} {number}" for name, number in found.found_by[trial.number].items())
    return Row(
        cells=(*values, str(len(trial.seeds)), f"{trial.confidence:.0%}"),
        text=f"{trial.design}{origin}   <- {finders}",
        layers=layers_of(trial, found.config),
    )
